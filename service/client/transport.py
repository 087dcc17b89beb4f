"""HTTP under the client: retries what is safe to repeat, and turns problem documents into errors."""

import contextlib
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.request import getproxies

import httpx

from service.client.proxies import SCHEMES, proxy_for, without_password
from service.client.redirects import MOST, Refused, next_of

DEFAULT_URL: Final = "http://127.0.0.1:8000"
RETRIED_STATUS: Final = frozenset({429, 502, 503, 504})
FINAL_CODES: Final = frozenset({"question_too_slow"})
"""Asked again it would be as slow, and keep the store busy."""
_LONGEST_WAIT_SECONDS: Final = 10.0


class ClientError(Exception):
    """A call that failed; `problem` is the problem document the service answered with."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        super().__init__(str(problem.get("detail") or problem.get("title") or "the call failed"))
        self.problem = dict(problem)

    @property
    def status(self) -> int | None:
        """HTTP status; None where the service did not answer."""
        return self.problem.get("status")

    @property
    def code(self) -> str:
        """The problem as one word that does not change, such as `invalid_grid`."""
        return str(self.problem.get("code", "unknown"))

    @property
    def errors(self) -> list[dict[str, Any]]:
        """One entry per wrong field: path, message, received, allowed, nearest."""
        return list(self.problem.get("errors", ()))

    @property
    def request_id(self) -> str | None:
        """Of the request, as in the service's log; None where none was told."""
        return self.problem.get("request_id")


class Unreachable(ClientError):
    """No service answered at the address."""

    def __init__(self, url: str, reason: str, proxy: str | None = None) -> None:
        detail = (
            f"no service answers at {url} ({reason}): start one with `nfa up`, or name another with --url or NFA_URL"
        )
        if proxy is not None:
            detail += f". It was asked through the proxy {without_password(proxy)}: NO_PROXY names hosts that need none"
        super().__init__({"code": "unreachable", "title": "No service answers", "detail": detail})


class Transport:
    """One connection pool to one service.

    Every call is safe to repeat: reading changes nothing, and what changes something carries an idempotency key or
    says only what should be so.

    Args:
        sleep: waits for so many seconds.
        is_direct: no proxy, whatever the environment says; see proxies.py for what follows it.
        carrier: makes what carries requests, through a proxy or directly; default: a blocking pool of connections.
    Raises:
        ClientError: the environment names a proxy that cannot be used.
        Unreachable: the address is none.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        timeout_seconds: float,
        retries: int,
        sleep: Callable[[float], None] = time.sleep,
        *,
        is_direct: bool = False,
        carrier: Callable[[str | None], httpx.BaseTransport] | None = None,
    ) -> None:
        self.url, self.sleep, self._retries = url.rstrip("/"), sleep, retries
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            self._proxy = None if is_direct else proxy_for(self.url, getproxies())
            # certificates still follow the environment; proxies would as well, were there no transport
            transport = _transport(self._proxy, carrier or _carrier)
            self._http = httpx.Client(base_url=self.url, headers=headers, timeout=timeout_seconds, transport=transport)
        except (httpx.InvalidURL, ValueError) as error:
            raise Unreachable(self.url, str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The decoded JSON of an answer.

        Raises:
            ClientError: the service refused the call or failed.
            Unreachable: it did not answer, also not when asked again.
        """
        given = {name: value for name, value in (params or {}).items() if value is not None}
        for attempt in range(self._retries + 1):
            is_last = attempt == self._retries
            try:
                request = self._http.build_request(method, path, params=given, content=content, headers=headers)
                response = self._answer(request)
            except httpx.InvalidURL as error:
                raise Unreachable(self.url, str(error)) from error
            except httpx.TransportError as error:
                if is_last or isinstance(error, httpx.UnsupportedProtocol):
                    raise self._unreachable(error) from error
                self.sleep(_backoff_seconds(attempt, None))
                continue
            if response.is_success:
                return _decoded(response)
            problem = _problem(response)
            if is_last or response.status_code not in RETRIED_STATUS or problem.get("code") in FINAL_CODES:
                raise ClientError(problem)
            self.sleep(_backoff_seconds(attempt, response.headers.get("Retry-After")))
        raise AssertionError("the loop returns or raises")

    def download(self, path: str, target: Path, *, params: Mapping[str, Any], headers: Mapping[str, str]) -> int:
        """Stream an answer to a file, which is there once it is whole; answers its bytes.

        An answer that breaks off is asked for again from the start.

        Raises:
            ClientError: the service refused the call or failed.
            Unreachable: it did not answer in full, also not when asked again.
        """
        part = target.with_name(f".{target.name}.part")
        try:
            for attempt in range(self._retries + 1):
                try:
                    request = self._http.build_request("GET", path, params=dict(params), headers=dict(headers))
                    with contextlib.closing(self._answer(request, stream=True)) as response:
                        if not response.is_success:
                            response.read()
                            raise ClientError(_problem(response))
                        with part.open("wb") as file:
                            for data in response.iter_bytes():
                                file.write(data)
                    part.replace(target)
                    return target.stat().st_size
                except httpx.TransportError as error:
                    if attempt == self._retries:
                        raise self._unreachable(error) from error
                    self.sleep(_backoff_seconds(attempt, None))
        finally:
            part.unlink(missing_ok=True)
        raise AssertionError("the loop returns or raises")

    def _answer(self, request: httpx.Request, *, stream: bool = False) -> httpx.Response:
        """The answer to a request, after the redirects that may be followed. Raises ClientError for others."""
        for _ in range(MOST):
            response = self._http.send(request, stream=stream)
            if not response.has_redirect_location:
                return response
            response.close()
            try:
                following = next_of(request.method, request.url, response.status_code, response.headers["Location"])
            except Refused as refusal:
                raise _redirected(response, str(refusal)) from refusal
            headers = [(name, value) for name, value in request.headers.multi_items() if name.lower() != "host"]
            request = self._http.build_request("GET", following.url, headers=headers)
            if not following.with_token:
                request.headers.pop("Authorization", None)
        raise _redirected(response, f"{request.url.copy_with(query=None)}: redirects lead on for ever")

    def _unreachable(self, error: httpx.TransportError) -> Unreachable:
        return Unreachable(self.url, str(error) or type(error).__name__, self._proxy)


def _carrier(proxy: str | None) -> httpx.BaseTransport:
    return httpx.HTTPTransport(proxy=proxy)


def _transport(proxy: str | None, carrier: Callable[[str | None], httpx.BaseTransport]) -> httpx.BaseTransport:
    """What carries calls, through a proxy or directly. Raises ClientError for a proxy that cannot be used."""
    try:
        return carrier(proxy)
    except ImportError as error:
        raise _unusable(proxy, "needs a package that is not installed: `pip install 'httpx[socks]'`") from error
    except (httpx.InvalidURL, ValueError) as error:
        raise _unusable(proxy, f"is none that can be used (it begins with {', '.join(SCHEMES)})") from error


def _redirected(response: httpx.Response, why: str) -> ClientError:
    return ClientError({"status": response.status_code, "code": "redirected", "title": "Moved", "detail": why})


def _unusable(proxy: str | None, why: str) -> ClientError:
    detail = (
        f"the proxy {without_password(proxy or '')} that the environment names {why}; or take it out of HTTP_PROXY, "
        "HTTPS_PROXY and ALL_PROXY, or put the service's host into NO_PROXY"
    )
    return ClientError({"code": "proxy_unusable", "title": "The proxy cannot be used", "detail": detail})


def _backoff_seconds(attempt: int, retry_after: str | None) -> float:
    """Twice as long each time, spread so that many clients do not come back at once."""
    if retry_after is not None and retry_after.isdigit():
        return min(float(retry_after), _LONGEST_WAIT_SECONDS)
    return min(0.2 * 2**attempt, _LONGEST_WAIT_SECONDS) * random.uniform(0.5, 1.0)


def _decoded(response: httpx.Response) -> Any:
    if response.status_code == httpx.codes.NO_CONTENT:
        return None
    try:
        return response.json()
    except ValueError as error:
        raise ClientError(_not_ours(response)) from error


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The problem document of an answer, or one made up where something else answered."""
    try:
        document = response.json()
    except ValueError:
        return _not_ours(response)
    return {"status": response.status_code} | document if isinstance(document, dict) else _not_ours(response)


def _not_ours(response: httpx.Response) -> dict[str, Any]:
    text = " ".join(response.text[:200].split())
    detail = f"{response.request.url} answered {response.status_code} with something that is not the service's: {text}"
    return {"status": response.status_code, "code": "not_the_service", "title": "Unexpected answer", "detail": detail}
