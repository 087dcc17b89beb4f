"""The `where` language: parsed to a small tree, never evaluated as code.

    expr = term {or term};  term = fact {and fact}
    fact = [not] ( "(" expr ")" | path op value | path [not] in "(" value, .. ")" | path is [not] null )
    op   = == != < <= > >= ;  path = setting | state | seed | final.METRIC["[" layer "]"]

Strings are quoted or bare. A comparison with null is false, and so is one between a number and a word. A setting that
is a list, such as a width per layer, compares as all of its entries do.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NoReturn

from nfa_kernels import names
from service.errors import InvalidFilter
from service.grid.axes import FIELDS, MAPPINGS, PATHS, is_mapping, is_path
from service.grid.problems import nearest, shortened
from service.states import TrialState

Value = bool | int | float | str
Lookup = Callable[[str], Any]
"""Path -> value, None where there is none."""

MAX_LENGTH: Final = 4000
MAX_NESTING: Final = 50
_MOST_TREES: Final = 512
"""That are kept."""
SETTINGS: Final = tuple(path for path in PATHS if path not in MAPPINGS)
OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
WORDS: Final[Mapping[str, tuple[str, ...]]] = {
    "state": tuple(state.value for state in TrialState),
    "data.kind": tuple(names.DATA_KINDS),
    "data.layout": names.LAYOUTS,
    "data.encoding": names.ENCODINGS,
    "data.pooling": names.POOLINGS,
    "network.activation": names.ACTIVATIONS,
    "network.parameterization": names.PARAMETERIZATIONS,
    "init.scheme": tuple(names.INITIALISATIONS),
    "training.optimizer": tuple(names.OPTIMIZERS),
    "training.loss": names.LOSSES,
    "training.dtype": names.DTYPES,
    "training.schedule": names.SCHEDULES,
    "measure.dtype": names.DTYPES,
}
"""Paths whose values are words out of a known few; any other word beside them is a mistake."""
_TOKEN: Final = re.compile(
    r"""\s*(?:(?P<op>==|!=|<=|>=|<|>)|(?P<mark>[(),])
    |(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))
    |(?P<quoted>"[^"]*"|'[^']*')|(?P<word>[A-Za-z_][\w.@/+-]*(?:\[[\w.]+\])?))""",
    re.VERBOSE,
)
_FINAL: Final = re.compile(
    r"final\.(?P<metric>[A-Za-z_]\w*(?:@[\w.+-]+)?(?:/[\w.-]+)?)(?:\[(?P<layer>\d+|[A-Za-z][\w.]*)\])?"
)


@dataclass(frozen=True, slots=True)
class Compare:
    """path op value."""

    path: str
    op: str
    value: Value


@dataclass(frozen=True, slots=True)
class In:
    """path in (value, ..)."""

    path: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class IsNull:
    """path is null."""

    path: str


@dataclass(frozen=True, slots=True)
class Not:
    """not fact."""

    fact: "Filter"


@dataclass(frozen=True, slots=True)
class And:
    """All of the facts; without any, everything."""

    facts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """Any of the terms."""

    terms: tuple["Filter", ...]


Filter = Compare | In | IsNull | Not | And | Or
EVERYTHING: Final = And(())


@lru_cache(maxsize=_MOST_TREES)
def parse(text: str) -> Filter:
    """The tree of a `where` expression, kept for whoever asks again; blank text matches everything.

    Raises:
        InvalidFilter: its one entry names the column, counted from 1.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidFilter(f"a filter of {len(text)} characters is over the limit of {MAX_LENGTH}")
    return _Parser(text).parse() if text.strip() else EVERYTHING


@lru_cache(maxsize=_MOST_TREES)
def predicate(text: str) -> Callable[[Lookup], bool]:
    """Whether what a lookup finds satisfies a `where` expression, for one asked of many. Raises InvalidFilter."""
    match parse(text):
        case Compare(path, op, value):
            return lambda lookup: compares(lookup(path), op, value)
        case tree:
            return lambda lookup: matches(tree, lookup)


def matches(tree: Filter, lookup: Lookup) -> bool:
    """Whether the values that `lookup` finds satisfy the filter."""
    match tree:
        case Compare(path, op, value):
            return compares(lookup(path), op, value)
        case In(path, values):
            found = lookup(path)
            return any(compares(found, "==", value) for value in values)
        case IsNull(path):
            return _is_null(lookup(path))
        case Not(fact):
            return not matches(fact, lookup)
        case And(facts):
            return all(matches(fact, lookup) for fact in facts)
        case Or(terms):
            return any(matches(term, lookup) for term in terms)


def compares(found: Any, op: str, wanted: Value) -> bool:
    """Whether `found op wanted`; false for null and for values of another type."""
    if type(found) is float and type(wanted) is float and not math.isnan(found):
        # most of what is asked, of every trial of a sweep
        return OPERATORS[op](found, wanted)
    if isinstance(found, list | tuple):
        return bool(found) and all(compares(part, op, wanted) for part in found)
    if _is_null(found):
        return False
    if isinstance(found, bool) or isinstance(wanted, bool):
        return (
            isinstance(found, bool) and isinstance(wanted, bool) and op in ("==", "!=") and OPERATORS[op](found, wanted)
        )
    if isinstance(found, str) != isinstance(wanted, str):
        return False
    return OPERATORS[op](found, wanted)


def paths(tree: Filter) -> set[str]:
    """Every path that a filter reads."""
    match tree:
        case Compare(path, _, _) | In(path, _) | IsNull(path):
            return {path}
        case Not(fact):
            return paths(fact)
        case And(parts) | Or(parts):
            return set().union(*(paths(part) for part in parts))


def split_final(path: str) -> tuple[str, int | str | None] | None:
    """Metric and layer (number or name) of a path final.METRIC[layer], None where none is given; None for any other."""
    found = _FINAL.fullmatch(path)
    if found is None:
        return None
    layer = found["layer"]
    return found["metric"], int(layer) if layer and layer.isdecimal() else layer


def _is_null(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    column: int


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._next = 0
        self._depth = 0

    def parse(self) -> Filter:
        """The whole text as one expression."""
        tree = self._expression()
        if self._peek().kind != "end":
            self._refuse(self._peek(), "expected and, or, or the end")
        return tree

    def _expression(self) -> Filter:
        terms = [self._term()]
        while self._take("word", "or"):
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _term(self) -> Filter:
        facts = [self._fact()]
        while self._take("word", "and"):
            facts.append(self._fact())
        return facts[0] if len(facts) == 1 else And(tuple(facts))

    def _fact(self) -> Filter:
        self._depth += 1
        if self._depth > MAX_NESTING:
            self._refuse(self._peek(), f"nested more than {MAX_NESTING} levels deep")
        try:
            if self._take("word", "not"):
                return Not(self._fact())
            if self._take("mark", "("):
                tree = self._expression()
                self._expect("mark", ")")
                return tree
            return self._comparison()
        finally:
            self._depth -= 1

    def _comparison(self) -> Filter:
        path = self._path()
        if self._take("word", "is"):
            negated = self._take("word", "not")
            self._expect("word", "null")
            return Not(IsNull(path)) if negated else IsNull(path)
        if self._take("word", "not"):
            self._expect("word", "in")
            return Not(self._members(path))
        if self._take("word", "in"):
            return self._members(path)
        token = self._advance()
        if token.kind != "op":
            self._refuse(token, "expected a comparison", allowed=[*OPERATORS, "in", "not in", "is null", "is not null"])
        return Compare(path, token.text, self._value(path))

    def _members(self, path: str) -> In:
        self._expect("mark", "(")
        values = [self._value(path)]
        while self._take("mark", ","):
            values.append(self._value(path))
        self._expect("mark", ")")
        return In(path, tuple(values))

    def _path(self) -> str:
        token = self._advance()
        if token.kind != "word":
            self._refuse(token, "expected a path such as training.weight_decay, state, seed or final.alignment")
        check_path(token.text, token.column)
        return token.text

    def _value(self, path: str) -> Value:
        token = self._advance()
        if token.kind == "number":
            return float(token.text) if re.search("[.eE]", token.text) else int(token.text)
        if token.kind not in ("word", "quoted"):
            self._refuse(token, "expected a number or a word")
        if token.kind == "word" and token.text == "null":
            self._refuse(token, f"a comparison with null is never true: write {path} is null")
        if token.kind == "word" and token.text in ("true", "false"):
            return token.text == "true"
        text = token.text[1:-1] if token.kind == "quoted" else token.text
        if path in WORDS and text not in WORDS[path]:
            known = list(WORDS[path])
            self._refuse(token, f"unknown {path.rpartition('.')[2]}", allowed=known, near=nearest(text, known))
        return text

    def _peek(self) -> _Token:
        return self._tokens[self._next]

    def _advance(self) -> _Token:
        token = self._tokens[self._next]
        self._next = min(self._next + 1, len(self._tokens) - 1)
        return token

    def _take(self, kind: str, text: str) -> bool:
        token = self._peek()
        if token.kind == kind and token.text == text:
            self._next += 1
            return True
        return False

    def _expect(self, kind: str, text: str) -> None:
        if not self._take(kind, text):
            self._refuse(self._peek(), f"expected {text}")

    def _refuse(self, token: _Token, message: str, *, allowed: Any = None, near: str | None = None) -> NoReturn:
        received = token.text if token.kind != "end" else "the end"
        _refuse(token.column, message, received, allowed, near)


def is_setting(path: str) -> bool:
    """Whether a path leads to one setting; one of a layer is such too."""
    return is_path(path) and not is_mapping(path)


def check_path(path: str, column: int = 1) -> None:
    """Refuse a path that names neither a setting nor state, seed or a final metric."""
    if is_setting(path) or path in ("state", "seed"):
        return
    final = split_final(path)
    if final is not None and names.definition_of(final[0]) is not None:
        if final[1] is None or (final[1] != 0 and final[0] not in names.NETWORK_METRICS):
            return
        _refuse(column, "only metrics of layers take a layer, counted from 1 or by its name", path)
    known = [*SETTINGS, "state", "seed", *(f"final.{name}" for name in names.METRICS)]
    short = {f"{field}": f"{section}.{field}" for section, fields in FIELDS.items() for field in fields}
    short |= {name: f"final.{name}" for name in names.METRICS}
    near = short.get(path) or nearest(path, known)
    told = (
        "unknown path" if near else "unknown path (there are settings such as network.depth, state, seed, final.METRIC)"
    )
    _refuse(column, told, path, known, near)


_MEANT = {"=": "==", "!": "!=", "&": "and", "|": "or", "~": "not"}
"""What other languages write, and what it is here."""


def _tokens(text: str) -> list[_Token]:
    """Tokens with their columns, and one for the end."""
    found, position = [], 0
    while text[position:].strip():
        token = _TOKEN.match(text, position)
        if token is None:
            column = len(text) - len(text[position:].lstrip()) + 1
            character = text[column - 1]
            _refuse(column, "unexpected character", character, near=_MEANT.get(character))
        kind = token.lastgroup or ""
        found.append(_Token(kind, token[kind], token.start(kind) + 1))
        position = token.end()
    return [*found, _Token("end", "", len(text) + 1)]


def _refuse(column: int, message: str, received: str, allowed: Any = None, near: str | None = None) -> NoReturn:
    hint = f"; did you mean {near}?" if near else ""
    text = f"{message} at column {column}, where {shortened(received)} stands{hint}"
    entry = {"path": "where", "message": text, "received": shortened(received), "column": column}
    if allowed is not None:
        entry["allowed"] = allowed
    if near is not None:
        entry["nearest"] = near
    raise InvalidFilter(text, errors=[entry])
