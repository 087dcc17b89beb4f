"""Where traces go, as both processes' settings read it: NFA_OTLP_ENDPOINT and NFA_OTLP_HEADERS. Pure."""

import re
from typing import Annotated, Final
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, SecretStr

PATH: Final = "/v1/traces"
_ADDRESS: Final = re.compile(r"https?://[^/?#@\s]+(/[A-Za-z0-9._~:%+-]+)*/?")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _address(given: str | None) -> str | None:
    """An address to which `/v1/traces` is added, without a slash at its end. Raises ValueError."""
    if not given:
        return None
    example = "an address such as http://localhost:4318"
    # neither is repeated: a password may stand before the one, also behind a slash, and a key behind the other
    if "@" in unquote(given):
        raise ValueError(f"has a user or password in it: give {example}, and credentials by NFA_OTLP_HEADERS")
    if "?" in given or "#" in given:
        raise ValueError(f"has a question mark or a hash in it: give {example}, and keys by NFA_OTLP_HEADERS")
    if not _ADDRESS.fullmatch(given):
        raise ValueError(f"{given!r} is not {example}")
    try:
        port = urlsplit(given).port
    except ValueError:
        port = -1
    if port is not None and not 0 < port < 2**16:
        raise ValueError(f"{given!r} has a port that is none: give {example}")
    if given.rstrip("/").endswith(PATH):
        raise ValueError(f"{given!r} ends with {PATH}, which is added by itself: leave it out")
    return given.rstrip("/")


def _sent_along(given: SecretStr | None) -> SecretStr | None:
    """Headers that can be read. Raises ValueError, which does not repeat them."""
    if given is not None:
        read_headers(given)
    return given


def read_headers(given: SecretStr | None) -> dict[str, str]:
    """What is sent along with traces: `name=value`, with commas between, values percent-encoded.

    Raises:
        ValueError: one of them is no header.
    """
    found: dict[str, str] = {}
    words = given.get_secret_value().split(",") if given is not None else []
    for place, word in enumerate((one for one in words if one.strip()), 1):
        name, is_pair, value = (part.strip() for part in word.partition("="))
        value = unquote(value)
        is_text = value.isascii() and value.isprintable() and value == value.strip()
        if not is_pair or not _NAME.fullmatch(name) or not is_text:
            raise ValueError(
                f"header {place} is not NAME=VALUE, such as Authorization=Bearer%20abc; put commas between, and no "
                "space at the ends of a value"
            )
        found[name.lower()] = value
    return found


Endpoint = Annotated[str | None, AfterValidator(_address)]
Headers = Annotated[SecretStr | None, AfterValidator(_sent_along)]
