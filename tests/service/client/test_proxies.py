"""Which way to a service: this machine is never behind a proxy, whatever a cluster sets for everybody."""

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from nfa_command import nfa

from service.client import Client, ClientError, Unreachable
from service.client.proxies import is_this_machine, proxy_for, without_password

DEAD = "http://127.0.0.1:9"
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
HERE = (
    "127.0.0.1",
    "127.255.3.4",
    "127.1",
    "2130706433",
    "::1",
    "[::1]",
    "::ffff:127.0.0.1",
    "0.0.0.0",
    "::",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "localhost.localdomain",
    "ip6-localhost",
)
ELSEWHERE = (
    "128.0.0.1",
    "10.0.0.5",
    "fe80::1",
    "example.org",
    "localhost.evil.org",
    "notlocalhost",
    "",
    "127.0.0.1.nip.io",
)


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine that tests has set."""
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def answering() -> Iterator[int]:
    """The port of something that answers every call with an empty object."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "15")
            self.end_headers()
            self.wfile.write(b'{"status":"ok"}')

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("host", HERE)
def test_this_machine_is_known_by_all_its_names(host):
    assert is_this_machine(host)
    address = f"[{host}]" if ":" in host and "[" not in host else host
    assert proxy_for(f"http://{address}:8000", {"http": DEAD, "all": DEAD, "no": ""}) is None


@pytest.mark.parametrize("host", ELSEWHERE)
def test_other_machines_are_not_taken_for_this_one(host):
    assert not is_this_machine(host)


@pytest.mark.parametrize(
    ("url", "proxies", "wanted"),
    [
        ("http://nfa.lab:8000", {"http": "http://p:1"}, "http://p:1"),
        ("http://nfa.lab:8000", {"http": "p:1"}, "http://p:1"),
        ("https://nfa.lab", {"http": "http://p:1"}, None),
        ("https://nfa.lab", {"http": "http://p:1", "all": "http://q:2"}, "http://q:2"),
        ("http://nfa.lab", {"all": "socks5://q:2", "no": "lab"}, None),
        ("http://nfa.lab", {"http": "http://p:1", "no": " .lab , x"}, None),
        ("http://nfa.lab:8000", {"http": "http://p:1", "no": "nfa.lab:8000"}, None),
        ("http://nfa.lab", {"http": "http://p:1", "no": "*"}, None),
        ("http://nfalab", {"http": "http://p:1", "no": "lab"}, "http://p:1"),
        ("http://10.1.2.3", {"http": "http://p:1", "no": "10.0.0.0/8"}, None),
        ("http://10.1.2.3", {"http": "http://p:1", "no": "localhost,::1/128,fe80::/10"}, "http://p:1"),
        ("http://[fd00::5]:8000", {"http": "http://p:1", "no": "fd00::/8"}, None),
        ("http://nfa.lab", {}, None),
    ],
)
def test_other_addresses_follow_the_environment(url, proxies, wanted):
    assert proxy_for(url, proxies) == wanted


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
@pytest.mark.parametrize("value", [DEAD, "socks5://127.0.0.1:9", "nonsense://x"])
@pytest.mark.parametrize("exempt", [None, "localhost", ""])
def test_a_service_on_this_machine_is_reached_whatever_proxy_is_set(answering, monkeypatch, name, value, exempt):
    monkeypatch.setenv(name, value)
    if exempt is not None:
        monkeypatch.setenv("NO_PROXY", exempt)
    for host in ("127.0.0.1", "localhost"):
        with Client(f"http://{host}:{answering}", retries=0) as client:
            client.ready()


def test_a_service_elsewhere_is_asked_through_the_proxy(answering, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{answering}")
    with Client("http://nfa.invalid:8000", retries=0) as client:
        client.ready()
    with Client("http://nfa.invalid:8000", retries=0, is_direct=True) as client, pytest.raises(Unreachable):
        client.ready()


def test_a_proxy_that_does_not_answer_is_named_without_its_password(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://anna:hunter2@127.0.0.1:9")
    with Client("http://nfa.invalid:8000", retries=0) as client, pytest.raises(Unreachable) as caught:
        client.ready()
    assert "http://127.0.0.1:9" in str(caught.value) and "NO_PROXY" in str(caught.value)
    assert "hunter2" not in str(caught.value)
    assert without_password("http://a:b@[::1]:3") == "http://[::1]:3"


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:9", "ftp://127.0.0.1:9", "http://127.0.0.1:port", "nonsense://anna:hunter2@x"]
)
def test_a_proxy_that_cannot_be_used_is_one_line(monkeypatch, proxy):
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(ClientError, match="NO_PROXY") as caught:
        Client("http://nfa.invalid:8000")
    assert "hunter2" not in str(caught.value)
    # the word that exempts a host is followed, although nothing could be made of the proxy
    monkeypatch.setenv("NO_PROXY", "nfa.invalid")
    Client("http://nfa.invalid:8000").close()


@pytest.mark.parametrize("url", ["http://[bad", "nonsense", "http://host:port"])
def test_an_address_that_is_none_is_one_error(url):
    with pytest.raises(Unreachable), Client(url, retries=0) as client:
        client.ready()


@pytest.mark.parametrize("command", ["list", "doctor"])
def test_the_command_line_ends_with_one_line_where_the_proxy_lacks_its_library(command, tmp_path, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:9")
    done = nfa(command, environment={"NFA_URL": "http://nfa.invalid", "NFA_HOME": str(tmp_path)})
    assert done.returncode not in (0, 120) and "Traceback" not in done.stderr + done.stdout
    assert "httpx[socks]" in " ".join((done.stderr + done.stdout).split())
