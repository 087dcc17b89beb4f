"""Spans as OTLP has them, in the classes that OpenTelemetry generates from its own definition. Pure.

Imported where traces are on, and nowhere else.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Status
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

from service.tracing.spans import Span, Value

MEDIA_TYPE: Final = "application/x-protobuf"
_LONGEST: Final = 1_000
"""Of a text, in characters."""


def request_body(spans: Sequence[Span], resource: Mapping[str, Value]) -> bytes:
    """The body that is sent for spans.

    Args:
        spans: what happened.
        resource: the process that saw it, by OpenTelemetry's names.
    """
    scope = InstrumentationScope(name="nfa", version=str(resource.get("service.version", "")))
    of_scope = ScopeSpans(scope=scope, spans=[_message(span) for span in spans])
    whose = Resource(attributes=_pairs(resource))
    return ExportTraceServiceRequest(
        resource_spans=[ResourceSpans(resource=whose, scope_spans=[of_scope])]
    ).SerializeToString()


def refused_spans(body: bytes) -> tuple[int, str]:
    """How many of the spans that it was sent a receiver did not take, and why. Raises ValueError for no such answer."""
    answer = ExportTraceServiceResponse()
    try:
        answer.ParseFromString(body)
    except Exception as error:  # DecodeError, of whichever implementation of protobuf there is
        raise ValueError("no OTLP answer") from error
    return answer.partial_success.rejected_spans, answer.partial_success.error_message


def _message(span: Span) -> Message:
    status = Status(code=Status.STATUS_CODE_ERROR, message=_text(span.error)) if span.error else None
    links = [Message.Link(trace_id=span.caller.trace, span_id=span.caller.span)] if span.caller else []
    return Message(
        trace_id=span.ids.trace,
        span_id=span.ids.span,
        parent_span_id=span.parent or b"",
        name=span.name,
        kind=Message.SPAN_KIND_SERVER if span.is_request else Message.SPAN_KIND_INTERNAL,
        start_time_unix_nano=span.began,
        end_time_unix_nano=max(span.began, span.ended),
        attributes=_pairs(span.attributes),
        status=status,
        links=links,
    )


def _text(given: str) -> str:
    """What protobuf takes: names of files that are no UTF-8 come with halves of characters, which it does not."""
    return given[:_LONGEST].encode(errors="replace").decode()


def _pairs(values: Mapping[str, Value]) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in values.items() if value is not None]


def _value(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=_text(value))
    return AnyValue(array_value=ArrayValue(values=[_value(one) for one in value or ()]))
