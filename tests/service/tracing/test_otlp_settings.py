"""Where traces go is said in a form that both processes read, refuse in one line, and never repeat secrets of."""

import subprocess
import sys

import pytest
from pydantic import SecretStr, ValidationError

from service.otlp import read_headers
from service.settings import Settings, in_words
from workers.settings import WorkerSettings

BOTH = pytest.mark.parametrize("kind", [Settings, WorkerSettings])


@BOTH
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("http://localhost:4318", "http://localhost:4318"),
        ("https://traces.lab.org/otlp/", "https://traces.lab.org/otlp"),
        ("http://[::1]:4318/", "http://[::1]:4318"),
        ("", None),
    ],
)
def test_an_address_is_kept_without_its_last_slash(monkeypatch, kind, given, kept):
    monkeypatch.setenv("NFA_OTLP_ENDPOINT", given)
    assert kind().otlp_endpoint == kept


@BOTH
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("localhost:4318", "is not an address such as"),
        ("grpc://localhost:4317", "is not an address such as"),
        ("http://", "is not an address such as"),
        ("http://lab.org:0", "a port that is none"),
        ("http://lab.org:99999", "a port that is none"),
        ("http://lab.org:x", "a port that is none"),
        ("http://lab.org/v1/traces", "leave it out"),
        ("http://lab.org/v1/traces/", "leave it out"),
    ],
)
def test_what_is_no_address_is_refused_with_what_it_was(monkeypatch, kind, given, said):
    monkeypatch.setenv("NFA_OTLP_ENDPOINT", given)
    with pytest.raises(ValidationError) as refused:
        kind()
    words = in_words(refused.value)
    assert words.startswith("NFA_OTLP_ENDPOINT: ") and said in words and given in words and "\n" not in words


@BOTH
@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("NFA_OTLP_ENDPOINT", "http://me:hunter2@lab.org:4318"),
        ("NFA_OTLP_ENDPOINT", "me:hunter2@lab.org:4318"),
        ("NFA_OTLP_ENDPOINT", "http://me:hun/ter2@lab.org:4318"),
        ("NFA_OTLP_ENDPOINT", "http://me:hunter2%40lab.org:4318"),
        ("NFA_OTLP_ENDPOINT", "http://lab.org:4318?key=hunter2"),
        ("NFA_OTLP_ENDPOINT", "http://lab.org:4318#hunter2"),
        ("NFA_OTLP_HEADERS", "Authorization hunter2"),
        ("NFA_OTLP_HEADERS", "a=1,b c=hunter2"),
        ("NFA_OTLP_HEADERS", "a=hunter2%0d%0ab: c"),
        # h11 refuses these, and repeats them
        ("NFA_OTLP_HEADERS", "a=hunter2%20"),
        ("NFA_OTLP_HEADERS", "a=%20hunter2"),
    ],
)
def test_secrets_that_are_given_wrongly_are_not_repeated(monkeypatch, kind, name, given):
    monkeypatch.setenv(name, given)
    with pytest.raises(ValidationError) as refused:
        kind()
    words = in_words(refused.value)
    assert words.startswith(f"{name}: ") and "hunter2" not in words and "ter2" not in words


def test_headers_are_read_as_opentelemetry_writes_them():
    assert read_headers(None) == {}
    given = SecretStr("Authorization=Basic%20YTpi, X-Scope-OrgID=lab=1,")
    assert read_headers(given) == {"authorization": "Basic YTpi", "x-scope-orgid": "lab=1"}


def test_without_a_receiver_nothing_of_it_is_imported_or_made():
    code = (
        "import sys, service.main, workers.traces; app = service.main.create_app(); "
        "print([m for m in sys.modules if m.startswith(('opentelemetry.proto', 'service.tracing.messages'))], "
        "[one for one in app.user_middleware if 'Traced' in repr(one)])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["[]", "[]"]
