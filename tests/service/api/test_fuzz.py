"""Requests drawn from the OpenAPI document, alone and in chains: no 5xx, and answers as the document says.

NFA_FUZZ_EXAMPLES is how many are drawn of each operation: few in `make test`, hundreds in `make fuzz`.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

KNOWN = {"experiment_id": "e1", "trial_id": "t1", "name": "weight-decay"}
"""What there is, for half of the requests."""
EXAMPLES = int(os.environ.get("NFA_FUZZ_EXAMPLES", "2"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
QUICK = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=EXAMPLES < 10,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def document(api: TestClient, submit: Callable[..., Any], train_queue: Callable[[], None]) -> Iterator[Any]:
    """The application's operations, with one trained experiment for them to find."""
    submit(seeds=1)
    train_queue()
    api.app.state.settings.host_names = ["testserver", "localhost"]
    # streams of events end at once, as where the service stops
    api.app.state.closing.set()
    yield schemathesis.openapi.from_asgi("/openapi.json", api.app)


def test_answers_to_drawn_requests_are_those_of_the_document(document):
    found: dict[str, str] = {}
    statuses: Counter[int] = Counter()
    for result in document.get_all_operations():
        operation = result.ok()

        @QUICK
        @given(case=operation.as_strategy(), known=st.booleans())
        def ask(case, known):
            if known and case.method != "DELETE":
                case.path_parameters.update({key: KNOWN[key] for key in case.path_parameters if key in KNOWN})
            statuses[case.call_and_validate(checks=CHECKS).status_code] += 1

        try:
            ask()
        except Exception as error:
            found[f"{operation.method.upper()} {operation.path}"] = _told(error)
    print(sum(statuses.values()), "requests:", dict(statuses))
    assert {200, 201, 404, 422} <= statuses.keys() and not {401, 403} & statuses.keys()
    assert not found, "\n\n".join(f"{name}: {text}" for name, text in found.items())


def test_chains_of_requests_get_answers_as_the_document_says(document):
    class Chain(document.as_state_machine()):
        def validate_response(self, response, case, additional_checks=(), **more):
            case.validate_response(response, checks=CHECKS)

    Chain.run(settings=settings(QUICK, max_examples=EXAMPLES, stateful_step_count=8))


def _told(error: BaseException) -> str:
    """What went wrong, of one failure or several."""
    inner = getattr(error, "exceptions", ())
    return "; ".join(_told(one) for one in inner) if inner else f"{type(error).__name__}: {str(error)[:1500]}"
