"""Numbers that follow from settings: `= 20 / training.learning_rate`, parsed by this file and never run as Python.

    formula = "=" sum;  sum = product {(+ | -) product};  product = signed {(* | /) signed}
    signed  = [+ | -] signed | atom [** signed];  atom = number | path | function ( sum {, sum} ) | ( sum )

Whole numbers stay whole under + - * ** min max round floor ceil abs; all else is float64, as Python's `math` has it.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

MAX_LENGTH: Final = 300
MAX_NESTING: Final = 30
_LARGEST_BITS: Final = 1023
Number = int | float

FUNCTIONS: Final[Mapping[str, tuple[int, int, Callable[..., Number]]]] = {
    "min": (1, 100, min),
    "max": (1, 100, max),
    "round": (1, 1, round),
    "floor": (1, 1, math.floor),
    "ceil": (1, 1, math.ceil),
    "abs": (1, 1, abs),
    "sqrt": (1, 1, math.sqrt),
    "log": (1, 1, math.log),
    "exp": (1, 1, math.exp),
}
"""Name -> the fewest and the most arguments, and what it is; log is the natural one, round goes to the even half."""

_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))"
    r"|(?P<word>[A-Za-z_]\w*(?:\.\w+)*)|(?P<mark>\*\*|[-+*/(),]))"
)


class FormulaError(Exception):
    """A formula that is none, or has no value; the text says where and why."""


class NoNumber(FormulaError):
    """A setting that a formula reads is no number."""


class Unknown(FormulaError):
    """A word that is neither a function nor a path."""

    def __init__(self, word: str, column: int) -> None:
        super().__init__(f"{word} at column {column}")
        self.word, self.column = word, column


class Step(NamedTuple):
    """One step of a stack machine: push a number, push a setting, or call with so many of the topmost."""

    kind: str
    what: Any
    count: int = 0


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula."""

    text: str
    steps: tuple[Step, ...]
    paths: tuple[str, ...]
    """Settings that it reads, each once."""

    def value(self, settings: Mapping[str, Any]) -> Number:
        """What it comes to where settings are these.

        Args:
            settings: a value for each of `paths`.
        Raises:
            FormulaError: a setting is no number, or there is no result.
        """
        stack: list[Number] = []
        try:
            for kind, what, count in self.steps:
                if kind == "number":
                    stack.append(what)
                elif kind == "path":
                    found = settings[what]
                    if type(found) is not int and type(found) is not float:
                        raise NoNumber(f"{what} is {_told(found)}, which is no number")
                    stack.append(found)
                else:
                    arguments = stack[-count:]
                    del stack[-count:]
                    stack.append(_bounded(what(*arguments)))
        except ZeroDivisionError:
            raise FormulaError("divides by zero") from None
        except OverflowError:
            raise FormulaError("is larger than any float64") from None
        except (ValueError, TypeError):
            raise FormulaError("is undefined: a root or a logarithm of a number that has none") from None
        return stack[0]


def is_formula(value: Any) -> bool:
    """Whether a value is a formula, right or wrong."""
    return type(value) is str and value[:1] in ("=", " ") and value.lstrip().startswith("=")


def parse(text: str, is_path: Callable[[str], bool]) -> Formula:
    """The formula that a text is.

    Args:
        text: with its equals sign.
        is_path: whether a word is the path of a setting.
    Raises:
        Unknown: a word in it is nothing.
        FormulaError: it is no formula, with the column, counted from 1.
    """
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"a formula of {len(text)} characters is over the limit of {MAX_LENGTH}")
    return _Parser(text, is_path).parse()


def _power(base: Number, exponent: Number) -> Number:
    """base ** exponent; refused before a whole number of it grows beyond float64."""
    if type(base) is int and type(exponent) is int:
        if exponent < 0:
            return float(base) ** exponent
        if abs(base) > 1 and exponent * (abs(base).bit_length() - 1) > _LARGEST_BITS:
            raise OverflowError
        return base**exponent
    found = base**exponent
    if isinstance(found, complex):
        raise ValueError("no real number")
    return found


def _bounded(value: Number) -> Number:
    if (type(value) is int and value.bit_length() > _LARGEST_BITS) or not math.isfinite(value):
        raise OverflowError
    return value


def _told(value: Any) -> str:
    return "null" if value is None else "a list" if isinstance(value, list | tuple) else repr(value)[:60]


def _add(one: Number, other: Number) -> Number:
    return one + other


def _subtract(one: Number, other: Number) -> Number:
    return one - other


def _multiply(one: Number, other: Number) -> Number:
    return one * other


def _divide(one: Number, other: Number) -> Number:
    return one / other


def _negate(one: Number) -> Number:
    return -one


_BINARY: Final[Mapping[str, Callable[..., Number]]] = {"+": _add, "-": _subtract, "*": _multiply, "/": _divide}


class _Parser:
    """Recursive descent that writes the steps of a stack machine."""

    def __init__(self, text: str, is_path: Callable[[str], bool]) -> None:
        self._text, self._is_path = text, is_path
        self._tokens: Sequence[tuple[str, str, int]] = _tokens(text)
        self._next, self._depth = 0, 0
        self._steps: list[Step] = []

    def parse(self) -> Formula:
        """The whole text."""
        self._sum()
        if self._peek()[0] != "end":
            self._refuse("expected an operator or the end")
        paths = dict.fromkeys(step.what for step in self._steps if step.kind == "path")
        return Formula(self._text, tuple(self._steps), tuple(paths))

    def _sum(self) -> None:
        self._chain(self._product, ("+", "-"))

    def _product(self) -> None:
        self._chain(self._signed, ("*", "/"))

    def _chain(self, part: Callable[[], None], marks: tuple[str, ...]) -> None:
        part()
        while self._peek()[0] == "mark" and self._peek()[1] in marks:
            mark = self._advance()[1]
            part()
            self._steps.append(Step("call", _BINARY[mark], 2))

    def _signed(self) -> None:
        self._depth += 1
        if self._depth > MAX_NESTING:
            self._refuse(f"nested more than {MAX_NESTING} levels deep")
        if self._take("-"):
            self._signed()
            self._steps.append(Step("call", _negate, 1))
        elif self._take("+"):
            self._signed()
        else:
            self._atom()
            if self._take("**"):
                self._signed()
                self._steps.append(Step("call", _power, 2))
        self._depth -= 1

    def _atom(self) -> None:
        kind, text, column = self._peek()
        if kind == "number":
            self._advance()
            number = float(text) if re.search("[.eE]", text) else int(text)
            try:
                self._steps.append(Step("number", _bounded(number)))
            except OverflowError:
                raise FormulaError(f"the number at column {column} is larger than any float64") from None
        elif kind == "word":
            self._advance()
            self._word(text, column)
        elif self._take("("):
            self._sum()
            self._close()
        else:
            self._refuse("expected a number, a setting such as training.learning_rate, or a parenthesis")

    def _word(self, text: str, column: int) -> None:
        if self._is_path(text):
            self._steps.append(Step("path", text))
            return
        if text not in FUNCTIONS or not self._take("("):
            raise Unknown(text, column)
        fewest, most, function = FUNCTIONS[text]
        self._sum()
        count = 1
        while self._take(","):
            self._sum()
            count += 1
        self._close()
        if not fewest <= count <= most:
            raise FormulaError(f"{text} at column {column} takes one number, not {count}")
        self._steps.append(Step("call", _least_of_one if count == 1 and function in (min, max) else function, count))

    def _close(self) -> None:
        if not self._take(")"):
            self._refuse("expected )")

    def _peek(self) -> tuple[str, str, int]:
        return self._tokens[self._next]

    def _advance(self) -> tuple[str, str, int]:
        self._next += 1
        return self._tokens[self._next - 1]

    def _take(self, mark: str) -> bool:
        found = self._peek()[:2] == ("mark", mark)
        self._next += found
        return found

    def _refuse(self, message: str) -> None:
        kind, text, column = self._peek()
        raise FormulaError(f"{message} at column {column}, where {'the end' if kind == 'end' else text} stands")


def _least_of_one(one: Number) -> Number:
    return one


def _tokens(text: str) -> list[tuple[str, str, int]]:
    """Kind, text and column of each token behind the equals sign, and one for the end."""
    found, position = [], text.index("=") + 1
    end = len(text.rstrip())
    while position < end:
        token = _TOKEN.match(text, position)
        if token is None:
            column = position + len(text[position:]) - len(text[position:].lstrip()) + 1
            raise FormulaError(f"unexpected {text[column - 1]} at column {column}")
        kind = token.lastgroup or ""
        found.append((kind, token[kind], token.start(kind) + 1))
        position = token.end()
    return [*found, ("end", "", len(text) + 1)]
