"""Which answers the client asks for again."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from service.client.transport import ClientError, Transport


@pytest.mark.parametrize(
    ("status", "code", "times"),
    [
        (503, "store_unavailable", 3),
        (504, "a_gateway", 3),
        (429, "too_many", 3),
        (504, "question_too_slow", 1),
        (500, "internal", 1),
        (422, "invalid_request", 1),
    ],
)
def test_what_may_pass_is_asked_for_again_and_a_question_that_was_too_slow_is_not(status, code, times):
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            body = json.dumps({"status": status, "code": code, "detail": "why", "request_id": "r1"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format, *args):
            """Nothing on the test's output."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        with Transport(url, None, 5.0, 2, sleep=lambda _: None) as transport, pytest.raises(ClientError) as caught:
            transport.call("GET", "/x")
        server.shutdown()
    assert len(asked) == times
    assert (caught.value.code, caught.value.request_id) == (code, "r1")
