"""The page about notifications as it stands: its receiver is told by a service that runs, and believes nobody else."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from processes import wait_until

from service.client import Client, ClientError
from service.store import schema
from service.store.session import open_store

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "webhooks.md").read_text()
SECRET = "a secret of thirty-two characters"


@pytest.fixture
def told(monkeypatch, capsys):
    """The receiver of the page, on a free port."""
    monkeypatch.setenv("NFA_NOTIFY_SECRET", SECRET)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names = {}
    exec(compile(code.replace("8099", "0"), "docs/howto/webhooks.md", "exec"), names)
    names["Told"].log_message = lambda *_: None
    thread = threading.Thread(target=names["server"].serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield names
    names["server"].shutdown()
    names["server"].server_close()


@pytest.fixture
def client(tmp_path):
    """A service without a dispatcher, as `nfa api` serves it."""
    with open_store(f"sqlite:///{tmp_path / 'nfa.db'}") as store:
        schema.upgrade(store)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    plain = {key: value for key, value in os.environ.items() if not key.startswith("NFA_")}
    own = {"NFA_NOTIFY_SECRET": SECRET, "NFA_NOTIFY_NETWORKS": "127.0.0.0/8", "NFA_HOME": str(tmp_path)}
    command = [str(Path(sys.executable).with_name("nfa")), "api", "--port", port]
    process = subprocess.Popen(command, env=plain | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with Client(f"http://127.0.0.1:{port}", retries=0) as client:
        wait_until(lambda: _is_ready(client), 60)
        yield client
    process.terminate()
    process.wait(30)


def _is_ready(client):
    try:
        client.ready()
    except ClientError:
        return False
    return True


def test_the_pages_receiver_is_told_and_believes_nobody_else(client, told, capsys):
    (grid,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    port = told["server"].server_address[1]
    # the second address is one of the page's examples, which nobody is to call
    grid = "\n".join(line for line in grid.splitlines() if "example.org" not in line).replace("8099", str(port))
    one = client.submit(grid.encode()).id
    client.cancel(one)
    wait_until(lambda: any(row.delivered_at for row in client.notifications(one)), 60)
    (row,) = client.notifications(one)
    assert (row.event, row.attempts, row.error) == ("end", 1, None) and told["seen"] == {row.id}
    assert capsys.readouterr().out == "end told when it ends cancelled\n"

    body = json.dumps({"id": "n99"}).encode()
    for header in ("", "t=0,v1=", f"t={int(time.time())},v1={'0' * 64}"):
        request = urllib.request.Request(f"http://127.0.0.1:{port}/nfa", body, {"X-NFA-Signature": header or "t=0,v1="})
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(request, timeout=10)
    assert told["seen"] == {row.id}


def test_a_message_of_the_page_is_what_is_sent():
    (example,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    message = json.loads(example)
    assert set(message) == {"id", "created_at", "event", "experiment", "verdicts", "attempt", "sent_at"}


def test_a_signature_is_refused_when_it_is_old_or_of_another_body(told):
    from service.notifying.signing import signature

    made = signature(SECRET.encode(), 1_000, b"body")
    assert told["is_genuine"](made, b"body", now=1_000)
    assert not told["is_genuine"](made, b"bodY", now=1_000)
    assert not told["is_genuine"](made, b"body", now=1_000 + 301)
