"""A real nginx with the server block that docs/operations.md gives."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import installed
from processes import free_port, wait_until

_PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
_AROUND = """\
daemon off;
pid {folder}/pid;
error_log {folder}/error.log;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{blocks}
}}
"""
PLAIN = "server {{ listen 127.0.0.1:{port}; location {place} {{ proxy_pass http://127.0.0.1:{service}{end}; }} }}\n"


def documented(port: int, service: int, folder: Path) -> str:
    """The block of the page, for other ports and files."""
    (block,) = re.findall(r"```nginx\n(.*?)```", _PAGE.read_text(), re.S)
    for before, after in {
        "listen 443 ssl;": f"listen 127.0.0.1:{port} ssl;",
        "http://127.0.0.1:8000": f"http://127.0.0.1:{service}",
        "/etc/nginx/nfa": f"{folder}/nfa",
    }.items():
        assert before in block, before
        block = block.replace(before, after)
    return block


def at_the_top(block: str) -> str:
    """The same for a name of its own, as the page says."""
    block, count = re.subn(r"\n *proxy_set_header X-Forwarded-Prefix .*?;", "", block)
    assert count == 1
    return block.replace("location /nfa/ {", "location / {")


class Nginx:
    """nginx in front of a service that listens on a port."""

    def __init__(self, folder: Path, service: int) -> None:
        self.folder = folder
        self.certificate = folder / "nfa.pem"
        program, openssl = installed("nginx", package="nginx"), installed("openssl", package="openssl")
        words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"]
        files = ["-keyout", str(folder / "nfa.key"), "-out", str(self.certificate)]
        names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
        subprocess.run([openssl, *words, names, *files], check=True, capture_output=True)
        prefixed, top, plain, stripped = (free_port() for _ in range(4))
        blocks = documented(prefixed, service, folder) + at_the_top(documented(top, service, folder))
        blocks += PLAIN.format(port=plain, service=service, place="/", end="")
        blocks += PLAIN.format(port=stripped, service=service, place="/nfa/", end="/")
        user = "user root;" if Path("/proc/self").owner() == "root" else ""
        (folder / "nginx.conf").write_text(_AROUND.format(folder=folder, user=user, blocks=blocks))
        self.prefixed, self.top = f"https://localhost:{prefixed}/nfa", f"https://localhost:{top}"
        self.plain, self.stripped = f"http://127.0.0.1:{plain}", f"http://127.0.0.1:{stripped}/nfa"
        self._process = subprocess.Popen(
            [program, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")],
            stderr=subprocess.DEVNULL,
        )
        wait_until(lambda: (folder / "pid").is_file() or self._process.poll() is not None, 20)
        assert self._process.poll() is None, (folder / "error.log").read_text()

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(20)


@pytest.fixture
def nginx(port: int) -> Iterator[Nginx]:
    """In front of the application that listens."""
    folder = Path(tempfile.mkdtemp(prefix="nfa-nginx-", dir="/tmp"))
    made = Nginx(folder, port)
    yield made
    made.stop()
    shutil.rmtree(folder, ignore_errors=True)
