"""One POST: signed by whoever calls, never redirected, over within a deadline."""

import hashlib
import hmac
import ipaddress
import socket
import threading

import pytest
from receiver import receiving

from service.notifying import sending
from service.notifying.addresses import Refused
from service.notifying.sending import Unsent, post
from service.notifying.signing import signature

HERE = [ipaddress.ip_network("127.0.0.0/8")]


def test_a_message_arrives_as_it_was_given():
    with receiving() as receiver:
        post(receiver.url, b'{"a": 1}', {"X-NFA-Delivery": "n7"}, HERE)
        (got,) = receiver.got
    assert (got.path, got.body, got.headers["X-NFA-Delivery"]) == ("/hook?key=1", b'{"a": 1}', "n7")
    assert got.headers["Host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize(
    ("status", "kind"), [(500, Unsent), (404, Unsent), (302, Unsent), (307, Unsent), (410, Refused)]
)
def test_what_is_not_taken_is_told_and_no_redirect_is_followed(status, kind):
    with receiving(status) as receiver:
        with pytest.raises(kind, match=str(status)):
            post(receiver.url, b"{}", {}, HERE)
        assert [one.path for one in receiver.got] == ["/hook?key=1"]


def test_a_private_address_is_never_called():
    with receiving() as receiver:
        with pytest.raises(Refused, match="not public"):
            post(receiver.url, b"{}", {}, [])
        with pytest.raises(Refused, match="not public"):
            post(receiver.url.replace("127.0.0.1", "localhost"), b"{}", {}, [])
        assert receiver.got == []


def test_nobody_there_is_told_and_may_be_there_later():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(Unsent, match="Refused"):
            post(f"http://127.0.0.1:{bound.getsockname()[1]}/", b"{}", {}, HERE)


def test_a_receiver_without_a_certificate_is_not_told():
    with receiving() as receiver:
        with pytest.raises(Unsent, match="SSL"):
            post(receiver.url.replace("http:", "https:"), b"secret", {}, HERE)
        assert receiver.got == []


def test_a_receiver_that_answers_a_byte_at_a_time_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr(sending, "DEADLINE_SECONDS", 0.3)
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            talk, _ = server.accept()
            with talk:
                while not over.wait(0.05):
                    try:
                        talk.sendall(b"H")
                    except OSError:
                        return

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        with pytest.raises(Unsent):
            post(f"http://127.0.0.1:{server.getsockname()[1]}/", b"{}", {}, HERE)
        over.set()
        thread.join(5)


def test_a_signature_is_over_time_and_body():
    made = signature(b"secret", 1700000000, b"{}")
    assert made == "t=1700000000,v1=" + hmac.new(b"secret", b"1700000000.{}", hashlib.sha256).hexdigest()
    assert made != signature(b"secret", 1700000001, b"{}").replace("1700000001", "1700000000")
    assert made.partition(",")[2] != signature(b"other", 1700000000, b"{}").partition(",")[2]
