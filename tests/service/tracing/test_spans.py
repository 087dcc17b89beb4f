"""Ids that processes agree on without speaking, and spans as OpenTelemetry's own definition reads them."""

import pytest
from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from service.tracing.messages import request_body
from service.tracing.spans import ROOT, Span, SpanIds, ids_of, read_traceparent

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def _read(spans, **resource):
    """What a receiver reads."""
    return MessageToDict(ExportTraceServiceRequest.FromString(request_body(spans, resource)))["resourceSpans"][0]


def test_the_ids_of_an_experiment_are_the_same_in_every_process_and_for_ever():
    ids = ids_of("a life", 12)
    assert (ids.trace.hex(), ids.span.hex()) == ("0e2754dd594b880c5166f67fb50fe0c2", "07bfc883368f2467")
    assert ids_of("a life", 12, ROOT) == ids


def test_experiments_of_another_number_or_store_are_other_traces_and_what_happens_in_one_is_not():
    ids = ids_of("a life", 12)
    assert len({ids.trace, ids_of("a life", 13).trace, ids_of("another", 12).trace, ids_of("a life1", 2).trace}) == 4
    one, other = ids_of("a life", 12, "stack 1 1"), ids_of("a life", 12, "stack 1 2")
    assert one.trace == other.trace == ids.trace
    assert len({ids.span, one.span, other.span}) == 3


def test_a_span_is_read_as_it_was_told():
    ids, caller = ids_of("a life", 12, "request"), read_traceparent(CALLER)
    values = {"text": "é", "number": 7, "share": 0.5, "flag": True, "list": ["a", "b"], "unknown": None}
    span = Span("POST /x", ids, ids_of("a life", 12).span, 10**18 + 1, 10**18 + 2, values, "it broke", True, caller)
    read = _read([span], **{"service.name": "nfa", "service.version": "1.2"})
    assert {one["key"]: one["value"] for one in read["resource"]["attributes"]} == {
        "service.name": {"stringValue": "nfa"},
        "service.version": {"stringValue": "1.2"},
    }
    (scope,) = read["scopeSpans"]
    assert scope["scope"] == {"name": "nfa", "version": "1.2"}
    (found,) = ExportTraceServiceRequest.FromString(request_body([span], {})).resource_spans[0].scope_spans[0].spans
    assert (found.trace_id, found.span_id, found.parent_span_id) == (*ids, ids_of("a life", 12).span)
    assert (found.start_time_unix_nano, found.end_time_unix_nano) == (10**18 + 1, 10**18 + 2)
    assert (found.links[0].trace_id.hex(), found.links[0].span_id.hex()) == tuple(CALLER.split("-")[1:3])
    told = scope["spans"][0]
    assert (told["name"], told["kind"]) == ("POST /x", "SPAN_KIND_SERVER")
    assert told["status"] == {"code": "STATUS_CODE_ERROR", "message": "it broke"}
    assert {one["key"]: one["value"] for one in told["attributes"]} == {
        "text": {"stringValue": "é"},
        "number": {"intValue": "7"},
        "share": {"doubleValue": 0.5},
        "flag": {"boolValue": True},
        "list": {"arrayValue": {"values": [{"stringValue": "a"}, {"stringValue": "b"}]}},
    }


def test_a_span_never_ends_before_it_began_and_its_texts_are_bounded():
    span = Span("stack", ids_of(None, 1), None, 20, 10, {"long": "x" * 5_000}, error="y" * 5_000)
    (told,) = _read([span])["scopeSpans"][0]["spans"]
    assert told["startTimeUnixNano"] == told["endTimeUnixNano"] == "20"
    assert len(told["attributes"][0]["value"]["stringValue"]) == len(told["status"]["message"]) == 1_000


def test_texts_that_are_no_unicode_are_told_as_far_as_they_are():
    span = Span("stack", ids_of(None, 1), None, 1, 2, {"host": "caf\udce9", "list": ["\ud800"]}, error="in \udcff")
    (told,) = _read([span])["scopeSpans"][0]["spans"]
    assert told["attributes"][0]["value"]["stringValue"] == "caf?" and told["status"]["message"] == "in ?"


def test_a_header_that_names_a_span_is_read():
    ids = SpanIds(bytes.fromhex("0af7651916cd43dd8448eb211c80319c"), bytes.fromhex("b7ad6b7169203331"))
    assert read_traceparent(CALLER) == ids
    # a later version may say more
    assert read_traceparent(CALLER.replace("00-", "01-", 1) + "-more") == ids


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "x",
        CALLER.upper(),
        f"{CALLER}-more",
        CALLER.replace("00-", "ff-", 1),
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
        CALLER[:-3],
    ],
)
def test_a_header_that_names_none_is_ignored(header):
    assert read_traceparent(header) is None
