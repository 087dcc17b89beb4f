"""A receiver of notifications on this machine."""

import contextlib
import threading
from collections.abc import Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Received(NamedTuple):
    """A request."""

    path: str
    headers: dict[str, str]
    body: bytes


class Receiver:
    """What came, and what is answered: statuses in turn, the last one for all that follow, once `answers` is set."""

    def __init__(self, statuses: list[int]) -> None:
        self.statuses, self.got, self.body = statuses, list[Received](), b""
        self.answers = threading.Event()
        self.answers.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.got.append(Received(self.path, dict(self.headers), body))
                outer.answers.wait(30)
                status = outer.statuses.pop(0) if len(outer.statuses) > 1 else outer.statuses[0]
                self.send_response(status)
                if 300 <= status < 400:
                    self.send_header("Location", f"http://127.0.0.1:{outer.port}/elsewhere")
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = int(self.server.server_address[1])
        self.address = f"http://127.0.0.1:{self.port}"
        self.url = f"{self.address}/hook?key=1"


@contextlib.contextmanager
def receiving(*statuses: int) -> Generator[Receiver]:
    """A receiver for as long as the block runs."""
    made = Receiver(list(statuses) or [204])
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.answers.set()
        made.server.shutdown()
        made.server.server_close()
