"""Which columns of a table, or arrays of a file, are x, y, x_test and y_test: by their names, or as the caller says.

A name counts where it can mean one thing only. What begins with x or y and can mean something else (`year`) is
refused together with the mapping to send; what begins otherwise is left out, and the answer says so.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from service.datasets.limits import MAX_NAME, listed, shown
from service.errors import InvalidDataset

ROLES: Final = ("x", "y", "x_test", "y_test")
_COLUMN: Final = re.compile(
    r"(?P<axis>[xy])(?:[_ ]?(?P<part>train|test))?(?:[_ ]?(?P<number>\d+)|_(?P<word>[a-z]\w*))?", re.IGNORECASE
)
_OTHER_PARTS: Final = re.compile(
    r"(train(ing|ed)?|tests?|testing|val|valid|validation|dev|eval|held_?out|holdout|pred|predict(ed|ion|ions)?|hat|"
    r"prob|probability)(_|\d|$)",
    re.IGNORECASE,
)
"""Words after x_ or y_ that name another set of samples or another quantity than a column of x or y."""
ARRAY_NAMES: Final = {
    "x": ("x", "x_train", "train_x", "train_images", "images", "data", "features", "inputs"),
    "y": ("y", "y_train", "train_y", "train_labels", "labels", "label", "targets", "target"),
    "x_test": ("x_test", "test_x", "test_images"),
    "y_test": ("y_test", "test_y", "test_labels"),
}
"""Names of arrays that are taken for x, y, x_test, y_test, in any case."""
_WEIGHT: Final = re.compile(r"[wb][1-9]\d*|[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*\.(in_proj_)?(weight|bias)")
"""Parameters: w1, b1, .. of a fully connected network, or dotted names as torch's modules have them."""
_COLLAPSED: Final = 100
"""Longer lists of columns are answered as first..last where they stand side by side."""


@dataclass(frozen=True)
class Picked:
    """Places of columns or arrays by role, in the file's order, and the places that are left out."""

    roles: Mapping[str, list[int]]
    left_out: list[int]

    def told(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Names by role, as an answer says them."""
        return {role: _collapsed(places, names) for role, places in self.roles.items() if places}


def pick_columns(names: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> Picked:
    """The columns of a table by role.

    Args:
        names: of all columns, in order; empty where a column has none.
        wanted: role -> names, ranges `first..last`, or lists with commas; empty: by the names alone.
    Raises:
        InvalidDataset: something is missing, unknown, named twice, or may mean several things.
    """
    roles = _wanted(names, wanted) if any(wanted.values()) else _columns_by_name(names)
    for role in ("x", "y"):
        if not roles[role]:
            raise InvalidDataset(
                f"a table needs columns x.. and y..; it has {listed(map(_called, names))}. Say which are which: "
                f"{_suggestion(names)}"
            )
    if roles["x_test"] or roles["y_test"]:
        for role in ("x", "y"):
            if len(roles[role]) != len(roles[f"{role}_test"]):
                raise InvalidDataset(
                    f"{role} has {len(roles[role])} columns and {role}_test {len(roles[f'{role}_test'])}: a test set "
                    "needs as many of both as the training data"
                )
    used = {place for places in roles.values() for place in places}
    often = Counter(names)
    for place in used:
        if often[names[place]] > 1:
            raise InvalidDataset(f"two columns are named {shown(names[place])}: every column needs a name of its own")
        if len(names[place]) > MAX_NAME:
            raise InvalidDataset(f"a column's name has {len(names[place])} characters, allowed are {MAX_NAME}")
    return Picked(roles, [place for place in range(len(names)) if place not in used])


def pick_arrays(names: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> Picked:
    """The arrays of a file by role; weights have their own names as roles.

    Raises:
        InvalidDataset: something is missing, unknown, named twice, or may mean several things.
    """
    if any(wanted.values()):
        roles = _wanted(names, wanted)
        for role, places in roles.items():
            if len(places) > 1:
                raise InvalidDataset(f"{role} is one array, not {len(places)}: {listed(names[one] for one in places)}")
    else:
        roles = {role: _named(names, role) for role in ROLES}
    weights = {} if any(wanted.values()) else {names[p]: [p] for p in range(len(names)) if _WEIGHT.fullmatch(names[p])}
    missing = _missing(roles)
    if missing and not (weights and not any(roles.values())):
        raise InvalidDataset(
            f"the file has {listed(names) or 'no arrays'}; {missing}. Name the arrays x and y (also x_test, y_test), "
            f"as in np.savez(file, x=X, y=Y), or say which are which: {_suggestion(names, 1)}. "
            "Initial weights are w1, w2, .."
        )
    roles = {role: places for role, places in roles.items() if places} | weights
    used = {place for places in roles.values() for place in places}
    return Picked(roles, [place for place in range(len(names)) if place not in used])


def _columns_by_name(names: Sequence[str]) -> dict[str, list[int]]:
    """Places of columns by role, each read from its name."""
    roles: dict[str, list[int]] = {role: [] for role in ROLES}
    said: dict[tuple[str, str], int] = {}
    parts: dict[str, str] = {}
    for place, name in enumerate(names):
        if name[:1].lower() not in ("x", "y"):
            bare = re.sub(r"^[\W_]+|[\W_]+$", "", name)
            if bare != name and _COLUMN.fullmatch(bare):
                raise InvalidDataset(
                    f"column {name[:MAX_NAME]!a} may be {shown(bare)}: rename it, or say which are which: "
                    f"{_suggestion(names)}"
                )
            continue
        found = _COLUMN.fullmatch(name)
        if found is None or _OTHER_PARTS.match(found["word"] or ""):
            raise InvalidDataset(
                f"column {shown(name)} begins with {name[0]} but may be something else than a column of "
                f"{name[0].lower()}: rename it, or say which are which: {_suggestion(names)}"
            )
        part = (found["part"] or "").lower()
        role = found["axis"].lower() + ("_test" if part == "test" else "")
        key = role, str(int(found["number"])) if found["number"] else (found["word"] or "").lower()
        if key in said:
            raise InvalidDataset(
                f"columns {shown(names[said[key]])} and {shown(name)} name the same column of {role}: rename one, or "
                f"say which to take: {_suggestion(names)}"
            )
        if parts.setdefault(role, part) != part:
            raise InvalidDataset(
                f"there are columns {role}.. and {role}_train..: rename them, or say which to take: "
                f"{_suggestion(names)}"
            )
        said[key] = place
        roles[role].append(place)
    return roles


def _named(names: Sequence[str], role: str) -> list[int]:
    """The array that plays a role by its name."""
    found = [place for place, name in enumerate(names) if name.lower() in ARRAY_NAMES[role]]
    if len(found) > 1:
        told = listed(names[place] for place in found)
        raise InvalidDataset(f"{told} may each be {role}: say which to take: {_suggestion(names, 1)}")
    return found


def _missing(roles: Mapping[str, list[int]]) -> str:
    """What a set of arrays lacks, in words; empty where it is complete."""
    absent = [role for role in ("x", "y") if not roles[role]]
    if bool(roles["x_test"]) != bool(roles["y_test"]):
        absent += [role for role in ("x_test", "y_test") if not roles[role]]
    return f"no array is {' or '.join(absent)}" if absent else ""


def _wanted(names: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Places by role as the caller says."""
    return {role: _places(names, role, wanted.get(role, ())) for role in ROLES}


def _places(names: Sequence[str], role: str, given: Sequence[str]) -> list[int]:
    parts = [part for text in given for part in ([text] if text in names else text.split(","))]
    places = [place for part in parts for place in _range(names, role, part.strip())]
    if len(set(places)) < len(places):
        twice = next(names[place] for place in places if places.count(place) > 1)
        raise InvalidDataset(f"?{role}= names {shown(twice)} twice")
    return places


def _range(names: Sequence[str], role: str, part: str) -> list[int]:
    """Places of one name, or of all from first to last of `first..last` in the file's order."""
    if part in names:
        return [names.index(part)]
    first, dots, last = part.partition("..")
    if dots and first in names and last in names:
        start, stop = names.index(first), names.index(last)
        if start <= stop:
            return list(range(start, stop + 1))
        raise InvalidDataset(f"?{role}={shown(part)}: {shown(last)} stands before {shown(first)} in the file")
    raise InvalidDataset(f"?{role}= names {shown(part)}, which the file has not; it has {listed(map(_called, names))}")


def _suggestion(names: Sequence[str], inputs: int = 2) -> str:
    """A mapping to send, as an example with this file's names; an array of a file is one input."""
    some = [name for name in names if names.count(name) == 1 and re.fullmatch(r"[\w.]+", name)]
    some = some if len(some) > 1 else ["a", "b"]
    target = next((name for name in some if name.lower() in ARRAY_NAMES["y"]), some[-1])
    chosen = [name for name in some if name != target][:inputs]
    return f"?x={','.join(chosen)}&y={target}" + (" (first..last names all between)" if inputs > 1 else "")


def _called(name: str) -> str:
    return name or "(unnamed)"


def _collapsed(places: Sequence[int], names: Sequence[str]) -> list[str]:
    """Names; where they are many, runs of neighbours as first..last."""
    if len(places) <= _COLLAPSED:
        return [names[place] for place in places]
    told, start = [], 0
    for end in range(1, len(places) + 1):
        if end == len(places) or places[end] != places[end - 1] + 1:
            first, last = names[places[start]], names[places[end - 1]]
            told.append(first if end - start == 1 else f"{first}..{last}")
            start = end
    return told if len(told) <= _COLLAPSED else [*told[:_COLLAPSED], f"and {len(told) - _COLLAPSED} more"]
