"""Redirects between client and service: followed for reading on the same host, else one line that names the address."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from service.client.redirects import Refused, next_of
from service.client.transport import ClientError, Transport

ASKED = httpx.URL("http://nfa.lab.org/api/v1/presets?limit=2")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    ("location", "url", "with_token"),
    [
        ("https://nfa.lab.org/api/v1/presets?limit=2", "https://nfa.lab.org/api/v1/presets?limit=2", True),
        ("https://nfa.lab.org/api/v1/presets", "https://nfa.lab.org/api/v1/presets?limit=2", True),
        ("https://NFA.lab.org:8443/api/v1/presets?limit=2", "https://nfa.lab.org:8443/api/v1/presets?limit=2", True),
        ("/api/v1/presets/?limit=2", "http://nfa.lab.org/api/v1/presets/?limit=2", True),
        ("http://nfa.lab.org:80/nfa/api/v1/presets", "http://nfa.lab.org/nfa/api/v1/presets?limit=2", True),
        ("//nfa.lab.org/nfa/api/v1/presets", "http://nfa.lab.org/nfa/api/v1/presets?limit=2", True),
        ("http://nfa.lab.org:9000/api/v1/presets", "http://nfa.lab.org:9000/api/v1/presets?limit=2", False),
        ("https://you:secret@nfa.lab.org/api/v1/presets", "https://nfa.lab.org/api/v1/presets?limit=2", True),
    ],
)
def test_reading_goes_on_where_it_is_sent_on_the_same_host(status, location, url, with_token):
    assert next_of("GET", ASKED, status, location) == (url, with_token)


@pytest.mark.parametrize(
    ("method", "asked", "location", "told"),
    [
        ("POST", ASKED, "https://nfa.lab.org/api/v1/presets", "is at https://nfa.lab.org, name .*POST is not sent"),
        ("DELETE", ASKED, "/nfa/api/v1/presets", "the service is at http://nfa.lab.org/nfa, name that with --url"),
        ("GET", ASKED, "https://other.org/api/v1/presets", "the service is at https://other.org, name"),
        ("GET", ASKED, "https://nfa.lab.org.evil.org/api/v1/presets", "is at https://nfa.lab.org.evil.org, name"),
        ("GET", httpx.URL("https://nfa.lab.org/api/v1/presets"), "http://nfa.lab.org/api/v1/presets", "at http://nfa.lab"),
        ("GET", ASKED, "/hub/login?next=/api/v1/presets", "leads to another page, http://nfa.lab.org/hub/login: "),
        ("GET", ASKED, "https://sso.lab.org/", "leads to another page, https://sso.lab.org/: "),
        ("GET", ASKED, "/api/v1/experiments", "leads to another page"),
        ("GET", ASKED, "ftp://nfa.lab.org/api/v1/presets", "no address of a service"),
        ("GET", ASKED, "http://nfa.lab.org:port/api/v1/presets", "leads nowhere"),
    ],
)  # fmt: skip
def test_anything_else_is_one_line_with_the_address(method, asked, location, told):
    with pytest.raises(Refused, match=told) as refusal:
        next_of(method, asked, 301, location)
    assert "\n" not in str(refusal.value) and "secret" not in str(refusal.value)


class Server(ThreadingHTTPServer):
    """Notes what it is asked and with which token, and sends on where it is told to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.location: Callable[[str], str | None] = lambda path: None


class Handler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        assert isinstance(self.server, Server)
        self.server.asked.append((self.path, self.headers.get("Authorization")))
        location = self.server.location(self.path)
        body = b"" if location else json.dumps({"path": self.path}).encode()
        self.send_response(302 if location else 200)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing on the test's output."""


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    """Two servers on this machine."""
    made = [Server(), Server()]
    for server in made:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield made
    for server in made:
        server.shutdown()
        server.server_close()


def test_a_redirect_is_followed_with_its_query_and_the_token_stays_where_it_belongs(servers, tmp_path):
    first, second = servers
    url = f"http://127.0.0.1:{first.server_port}"
    first.location = lambda path: None if path.startswith("/nfa") else f"/nfa{path.partition('?')[0]}"
    with Transport(url, "secret", 5.0, 0) as transport:
        found = transport.call("GET", "/api/v1/presets", params={"limit": 2})
        assert found == {"path": "/nfa/api/v1/presets?limit=2"}
        assert [token for _, token in first.asked] == ["Bearer secret"] * 2
        first.location = lambda path: f"http://127.0.0.1:{second.server_port}{path}"
        assert transport.call("GET", "/api/v1/presets") == {"path": "/api/v1/presets"}
        transport.download("/api/v1/presets", tmp_path / "file", params={"a": "1"}, headers={"Accept": "text/csv"})
        assert json.loads((tmp_path / "file").read_text()) == {"path": "/api/v1/presets?a=1"}
        assert second.asked == [("/api/v1/presets", None), ("/api/v1/presets?a=1", None)]
        for method, location in (("POST", None), ("GET", f"http://localhost:{second.server_port}")):
            if location:
                first.location = lambda path, base=location: f"{base}{path}"
            with pytest.raises(
                ClientError, match=r"the service is at http://.*name that with --url or NFA_URL"
            ) as error:
                transport.call(method, "/api/v1/presets", content=b"{}" if method == "POST" else None)
            assert error.value.code == "redirected"
        first.location = lambda path: path
        with pytest.raises(ClientError, match="for ever"):
            transport.call("GET", "/api/v1/presets")
    assert len(second.asked) == 2
