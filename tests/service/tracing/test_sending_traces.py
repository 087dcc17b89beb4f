"""Spans reach a receiver that is there, wait for one that is not, in bounded memory, and nobody waits for them."""

import json
import socket
import time

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from processes import wait_until
from receiver import receiving
from told_spans import spans_of

from service.tracing.receiver import Outcome, Receiver
from service.tracing.sending import MOST_WAITING, Sender
from service.tracing.spans import Span, ids_of

SECRET = {"authorization": "Bearer hunter2"}


def _spans(first, count):
    return [Span(f"span {n}", ids_of("life", n), None, 1, 2) for n in range(first, first + count)]


def _sender(receiver, **more):
    taker = Receiver(receiver.address, SECRET, "test")
    return taker, Sender(taker, **({"gather_seconds": 0.0, "again_seconds": 0.01} | more))


def _names(receiver):
    return [span.name for span in spans_of(receiver)]


def test_spans_arrive_once_in_their_order_at_the_path_that_otlp_has():
    with receiving(200) as receiver:
        _, sender = _sender(receiver)
        sender.put(_spans(0, 2))
        sender.put(_spans(2, 1))
        sender.close(10)
        assert _names(receiver) == ["span 0", "span 1", "span 2"]
        assert {one.path for one in receiver.got} == {"/v1/traces"}
        headers = {name.lower(): value for name, value in receiver.got[0].headers.items()}
        assert headers["content-type"] == "application/x-protobuf"
        assert headers["authorization"] == "Bearer hunter2"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_receiver_on_this_machine_is_reached_whatever_proxies_there_are(monkeypatch, host):
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with receiving(200) as receiver:
        taker = Receiver(receiver.address.replace("127.0.0.1", host), {}, "test")
        assert taker.take(_spans(0, 1)) == Outcome.TAKEN
        taker.close()


@pytest.mark.parametrize("status", [503, 429, 500])
def test_what_was_not_taken_is_sent_again_and_the_log_says_so_twice(lines, status):
    with receiving(status, status, status, 200) as receiver:
        _, sender = _sender(receiver)
        sender.put(_spans(0, 3))
        wait_until(lambda: len(receiver.got) == 4)
        sender.close(10)
        assert _names(receiver) == ["span 0", "span 1", "span 2"] * 4
    assert [(line["event"], line.get("dropped")) for line in lines] == [("traces_wait", None), ("traces_sent_again", 0)]
    assert str(status) in lines[0]["reason"] and "hunter2" not in json.dumps(lines)


def test_a_receiver_that_is_not_there_yet_gets_what_waits_once_it_is(lines):
    with receiving(200) as receiver:
        taker = Receiver(receiver.address, {}, "test")
        with socket.socket() as bound:
            bound.bind(("127.0.0.1", 0))
            taker._url = f"http://127.0.0.1:{bound.getsockname()[1]}/v1/traces"
            sender = Sender(taker, gather_seconds=0.0, again_seconds=0.01)
            sender.put(_spans(0, 2))
            wait_until(lambda: lines)
            assert "ConnectError" in lines[0]["reason"] and sender.waiting() in (0, 2)
            taker._url = f"{receiver.address}/v1/traces"
            wait_until(lambda: receiver.got)
        sender.close(10)
        assert _names(receiver) == ["span 0", "span 1"]


@pytest.mark.parametrize("status", [400, 401, 404, 302, 413])
def test_what_would_never_be_taken_is_dropped_and_counted_and_no_redirect_is_followed(lines, status):
    with receiving(status, 200) as receiver:
        taker, sender = _sender(receiver)
        sender.put(_spans(0, 2))
        wait_until(lambda: taker.dropped)
        sender.put(_spans(2, 1))
        sender.close(10)
        assert _names(receiver) == ["span 0", "span 1", "span 2"]
        assert [one.path for one in receiver.got] == ["/v1/traces"] * 2
    assert [(line["event"], line.get("dropped")) for line in lines] == [("traces_wait", None), ("traces_sent_again", 2)]


@pytest.mark.parametrize(
    ("proxy", "said"),
    [
        ("socks5://127.0.0.1:9", "httpx[socks]"),
        ("http://me:hun/ter2@127.0.0.1:9", "InvalidURL"),
        ("x://a", "ValueError"),
    ],
)
def test_what_a_proxy_cannot_send_is_lost_and_said_once_and_the_next_is_tried(monkeypatch, lines, proxy, said):
    monkeypatch.setenv("ALL_PROXY", proxy)
    with receiving(200) as receiver:
        taker = Receiver("http://receiver.test:4318", SECRET, "test")
        sender = Sender(taker, gather_seconds=0.0)
        for lost in (1, 2):
            sender.put(_spans(lost, 1))
            wait_until(lambda lost=lost: taker.dropped == lost)
        taker._url = f"{receiver.address}/v1/traces"
        sender.put(_spans(3, 1))
        sender.close(10)
        assert _names(receiver) == ["span 3"]
    assert [(line["event"], line.get("dropped")) for line in lines] == [("traces_wait", None), ("traces_sent_again", 2)]
    told = json.dumps(lines)
    assert said in lines[0]["reason"] and "lost" in lines[0]["next"] and "hun" not in told and "Traceback" not in told


def test_spans_that_cannot_be_written_are_lost_alone(lines):
    with receiving(200) as receiver:
        taker, sender = _sender(receiver)
        sender.put([Span("stack", ids_of("life", 1), None, 1, 2, {"number": 2**64})])
        wait_until(lambda: taker.dropped)
        sender.put(_spans(0, 1))
        sender.close(10)
        assert _names(receiver) == ["span 0"]


def test_a_receiver_that_takes_some_says_how_many_it_did_not(lines):
    partial = ExportTracePartialSuccess(rejected_spans=2, error_message="too old")
    with receiving(200) as receiver:
        receiver.body = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
        taker = Receiver(receiver.address, {}, "test")
        assert taker.take(_spans(0, 3)) == Outcome.TAKEN
        receiver.body = b"<html>taken</html>"
        assert taker.take(_spans(0, 3)) == Outcome.TAKEN
        taker.close()
    assert [(line["event"], line["spans"], line["reason"]) for line in lines] == [("traces_refused", 2, "too old")]


def test_of_too_many_that_wait_the_oldest_go_and_nobody_waits_for_a_slow_receiver(lines):
    with receiving(200) as receiver:
        receiver.answers.clear()
        taker, sender = _sender(receiver)
        sender.put(_spans(0, 1))
        wait_until(lambda: receiver.got)
        began = time.monotonic()
        for first in range(1, 2 * MOST_WAITING, 64):
            sender.put(_spans(first, 64))
        # what is counted here is work and not waiting: the receiver answers nothing meanwhile
        assert time.monotonic() - began < 5 and len(receiver.got) == 1
        assert sender.waiting() == MOST_WAITING and taker.dropped == MOST_WAITING
        receiver.answers.set()
        sender.close(20)
        assert _names(receiver)[-1] == f"span {2 * MOST_WAITING}"
    assert [(line["event"], line["spans"]) for line in lines] == [("traces_dropped", MOST_WAITING)]


def test_closing_waits_for_a_receiver_no_longer_than_it_is_told(lines):
    with receiving(200) as receiver:
        receiver.answers.clear()
        _, sender = _sender(receiver)
        sender.put(_spans(0, 1))
        wait_until(lambda: receiver.got)
        began = time.monotonic()
        sender.close(0.1)
        assert time.monotonic() - began < 3


def test_what_still_waits_when_a_process_ends_is_told_as_lost(lines):
    with receiving(503) as receiver:
        _, sender = _sender(receiver, again_seconds=60)
        sender.put(_spans(0, 3))
        wait_until(lambda: lines)
        sender.close(10)
    assert [(line["event"], line.get("spans")) for line in lines] == [("traces_wait", None), ("traces_dropped", 3)]
