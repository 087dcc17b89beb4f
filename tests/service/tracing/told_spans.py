"""Spans as a receiver of this machine was sent them."""

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def spans_of(receiver):
    """All of them, in the order in which they came; a request that was not taken counts as well."""
    requests = [ExportTraceServiceRequest.FromString(one.body) for one in receiver.got]
    return [
        span
        for request in requests
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def attributes_of(span):
    """Values by name."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}
