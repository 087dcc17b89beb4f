"""Reading YAML 1.2 and JSON: what is accepted, and what is refused with its place."""

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from service.errors import InvalidGrid, UnsupportedMedia
from service.grid.document import MAX_NESTING, parse_document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("true", True),
        ("False", False),
        ("1e-3", 0.001),
        ("1E5", 1e5),
        (".5", 0.5),
        ("1.", 1.0),
        ("+1", 1),
        ("-0", 0),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("12:30", "12:30"),
        ("2020-01-01", "2020-01-01"),
        ("=", "="),
        ("<<", "<<"),
        ("~", None),
        ("null", None),
        ("", None),
        ("'5'", "5"),
        ('"1e-3"', "1e-3"),
        ("1e-3x", "1e-3x"),
        ("-", [None]),
    ],
)
def test_a_yaml_scalar_reads_as_yaml_1_2_says(text: str, value: object) -> None:
    read = parse_document(f"a: {text}".encode() if value != [None] else b"a:\n-")["a"]
    assert read == value and type(read) is type(value)


def test_an_old_yaml_directive_does_not_turn_no_into_false() -> None:
    assert parse_document(b"%YAML 1.1\n---\na: no") == {"a": "no"}


def test_keys_read_as_the_text_they_are_written_as() -> None:
    assert parse_document(b"1: a\ntrue: b\n1e3: c\nno: d") == {"1": "a", "true": "b", "1e3": "c", "no": "d"}


def test_anchors_repeat_a_value() -> None:
    assert parse_document(b"a: &x {b: [1, 2]}\nc: *x") == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}


def test_json_and_yaml_of_one_document_read_alike() -> None:
    document = {"name": "a", "axes": {"x": [0, 0.5, 1e-3, True, None, "no"]}, "trial": {}}
    body = json.dumps(document).encode()
    assert parse_document(body, "application/json; charset=utf-8") == parse_document(body, "text/yaml") == document


def test_a_byte_order_mark_is_no_part_of_the_first_key() -> None:
    assert parse_document("\ufeffa: 1".encode()) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "words", "line", "column"),
    [
        ("a: 1\na: 2", "the key a is given twice", 2, 1),
        ("{a: 1, a: 2}", "the key a is given twice", 1, 8),
        ("&a a: 1\n*a : 2", "the key a is given twice", 2, 1),
        ("a: !!str 5", "tag", 1, 4),
        ("a: !!python/object/apply:os.system [x]", "tag", 1, 4),
        ("a: !foo {b: 1}", "tag", 1, 4),
        ("a: *b", "alias *b names no anchor", 1, 4),
        ("a: &x [*x]", "or one it lies in", 1, 8),
        ("a: 1\n---\nb: 2", "second document", 2, 1),
        ("a: [1,", "expected", 1, 7),
        ("a: b: c", "mapping values are not allowed", 1, 5),
        ("a:\n\t- b", "cannot start any token", 2, 1),
        ("? [1]\n: 2", "a key must be a string", 1, 5),
        ("a: " + "9" * 5000, "more than 400 digits", 1, 4),
        ("a: " + "[" * 50_000, f"nested more than {MAX_NESTING} levels", 1, 3 + MAX_NESTING),
        ("{a: " * 50_000, f"nested more than {MAX_NESTING} levels", 1, 1 + 4 * MAX_NESTING),
    ],
)
def test_refused_yaml_names_line_and_column(body: str, words: str, line: int, column: int) -> None:
    with pytest.raises(InvalidGrid) as caught:
        parse_document(body.encode())
    assert words in caught.value.detail
    assert (caught.value.errors[0]["line"], caught.value.errors[0]["column"]) == (line, column)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"a": 1, "a": 2}', "the key a is given twice"),
        ('{"a": {"b": 1, "b": 1}}', "the key b is given twice"),
        ("{", "line 1, column 2"),
        ("[" * 100_000, "nested more than"),
        ('{"a":' * 1000 + "1" + "}" * 1000, "nested more than"),
        ('{"a": ' + "9" * 5000 + "}", "more than 400 digits"),
        ('{"a": NaN}', "finite"),
        ('{"a": 1e999}', "finite"),
        ('{"a": "\\u0000"}', "NUL"),
        ('{"a": "\\ud800"}', "surrogate"),
        ('{"\\ud800": 1}', "surrogate"),
        ("[]", "a grid is a mapping"),
        ("5", "a grid is a mapping"),
        ("", "not JSON"),
    ],
)
def test_refused_json_says_why(body: str, words: str) -> None:
    with pytest.raises(InvalidGrid, match=words) as caught:
        parse_document(body.encode(), "application/json")
    json.dumps(caught.value.errors, allow_nan=False).encode()
    caught.value.detail.encode()


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b"a: \x80", b"a: .nan", b"a: -.inf", b"a: '\\0'\nb: \"\\0\"", b"a: \x07", b""]
)
def test_bytes_that_no_store_could_hold_are_refused(body: bytes) -> None:
    with pytest.raises(InvalidGrid):
        parse_document(body)


def test_aliases_that_multiply_are_refused_before_they_do(calls) -> None:
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]

    def refused() -> None:
        with pytest.raises(InvalidGrid, match="aliases counted as often"):
            parse_document("\n".join(lines).encode())

    # 10^11 values are neither made nor counted one by one
    assert calls(refused) < 1_000_000


def test_other_media_types_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedMedia, match=r"text/html.*application/yaml"):
        parse_document(b"a: 1", "text/html")


LEAVES = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=8)
DOCUMENTS = st.dictionaries(
    TEXT,
    st.recursive(LEAVES | TEXT, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4)),
)


@given(DOCUMENTS)
@settings(max_examples=200, deadline=None)
def test_what_json_writes_is_read_back(document: dict) -> None:
    read = parse_document(json.dumps(document).encode(), "application/json")
    assert read == document


@given(DOCUMENTS)
@settings(max_examples=100, deadline=None)
def test_json_is_read_by_the_yaml_reader_too(document: dict) -> None:
    # JSON escapes characters beyond the basic plane as two halves, which YAML reads as two characters
    assert parse_document(json.dumps(document, ensure_ascii=False).encode()) == document


@given(st.text(max_size=40) | st.text("ab:{}[]&*!|>-?'\"#%@,\n 019.e\t", max_size=40))
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        read = parse_document(text.encode(errors="surrogatepass"))
    except InvalidGrid as error:
        error.detail.encode()
    else:
        assert isinstance(read, dict)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_python_writes_is_a_number(number: float) -> None:
    read = parse_document(f"a: {number!r}".encode())["a"]
    assert isinstance(read, float) and math.copysign(1, read) == math.copysign(1, number) and read == number


@given(DOCUMENTS)
@settings(max_examples=50, deadline=None)
def test_a_yaml_library_agrees_where_the_two_schemas_do(document: dict) -> None:
    text = json.dumps(document, ensure_ascii=False)
    assert parse_document(text.encode()) == YAML(typ="safe", pure=True).load(text)
