"""The numbers that a figure is drawn from, beside it: as CSV, and as lines of pgfplots for TikZ."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from service.web.figures.style import hues

FORMS: Final = ("csv", "tikz")
_HEAD: Final = "% needs \\usepackage{pgfplots} \\pgfplotsset{compat=1.18} \\usepgfplotslibrary{groupplots,fillbetween}"


def write_numbers(chart: Any, path: Path, form: str) -> Path:
    """Write the rows of a figure beside it: FILE.csv, or FILE.tex with a picture that pgfplots draws.

    Raises:
        ValueError: for a form that is none, or a kind of figure that has no lines or points of x and y.
    """
    if form not in FORMS:
        raise ValueError(f"--format {form}: numbers are written as {' or '.join(FORMS)}")
    spec = chart.to_dict()
    target = path.with_suffix(".csv" if form == "csv" else ".tex")
    target.parent.mkdir(parents=True, exist_ok=True)
    rows = _rows(spec)
    text = pl.DataFrame(rows, infer_schema_length=None).write_csv() if form == "csv" else _tikz(spec, rows)
    target.write_text(text, encoding="utf-8")
    return target


def _rows(spec: Any) -> list[dict[str, Any]]:
    """The largest table of a specification: what its marks are drawn from, rather than its rules."""
    found: list[list[dict[str, Any]]] = []
    stack = [spec]
    while stack:
        part = stack.pop()
        if isinstance(part, Mapping):
            values = part.get("data", {}).get("values") if isinstance(part.get("data"), Mapping) else None
            found += [values] if isinstance(values, list) else []
            stack += [value for key, value in part.items() if key != "data"]
        elif isinstance(part, list):
            stack += part
    return max(found, key=len, default=[])


def _tikz(spec: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    """A group of plots, one for each panel: lines with bands, or points."""
    up = "median" if rows and "median" in rows[0] and "x" in rows[0] and "low" in rows[0] else "y"
    if not rows or not isinstance(rows[0].get("x"), int | float) or not isinstance(rows[0].get(up), int | float | None):
        raise ValueError("--format tikz: curves, imbalance, multiples and scatter of two numbers have lines or points")
    colors, panels = (list(dict.fromkeys(row[name] for row in rows)) for name in ("color", "facet"))
    colors.sort(key=_in_order(spec, colors))
    columns = spec.get("columns", 1) if len(panels) > 1 else 1
    named = [f"\\definecolor{{nfa{at}}}{{HTML}}{{{hue[1:].upper()}}}" for at, hue in enumerate(hues(len(colors)))]
    titles = {axis: _title(spec, axis) for axis in ("x", "y")}
    modes = ", ".join(f"{axis}mode=log" for axis in ("x", "y") if _is_log(spec, axis))
    lines = [_HEAD, *named, "\\begin{tikzpicture}", "\\begin{groupplot}[group style={group size="]
    lines[-1] += f"{columns} by {-(-len(panels) // columns)}}}, xlabel={{{titles['x']}}}, ylabel={{{titles['y']}}}"
    lines[-1] += f"{', ' if modes else ''}{modes}, legend pos=outer north east]"
    for number, panel in enumerate(panels):
        lines.append(f"\\nextgroupplot[title={{{_escaped(panel)}}}]")
        for at, color in enumerate(colors):
            of_it = [row for row in rows if row["color"] == color and row["facet"] == panel]
            lines += _plots(of_it, up, at, f"{number}x{at}")
            lines += [f"\\addlegendentry{{{_escaped(color)}}}"] if color and of_it and number == 0 else []
    return "\n".join([*lines, "\\end{groupplot}", "\\end{tikzpicture}", ""])


def _plots(rows: Sequence[Mapping[str, Any]], up: str, color: int, name: str) -> list[str]:
    """The lines of one colour in a panel, or its points."""
    if up == "y":
        points = _points(rows, "y")
        return [f"\\addplot[only marks, mark size=1pt, nfa{color}] coordinates {{{points}}};"] if points else []
    found = []
    for at, dash in enumerate(dict.fromkeys(row["dash"] for row in rows)):
        of_it = [row for row in rows if row["dash"] == dash]
        path = f"{name}x{at}"
        style = f"nfa{color}{', dashed' if at else ''}"
        found += [
            f"\\addplot[name path=low{path}, draw=none, forget plot] coordinates {{{_points(of_it, 'low')}}};",
            f"\\addplot[name path=high{path}, draw=none, forget plot] coordinates {{{_points(of_it, 'high')}}};",
            f"\\addplot[nfa{color}, opacity=0.2, forget plot] fill between[of=low{path} and high{path}];",
            f"\\addplot[{style}] coordinates {{{_points(of_it, 'median')}}};",
        ]
    return found


def _points(rows: Sequence[Mapping[str, Any]], up: str) -> str:
    return " ".join(f"({row['x']:.6g},{row[up]:.6g})" for row in rows if row[up] is not None)


def _encoded(spec: Mapping[str, Any], channel: str) -> Mapping[str, Any]:
    """The encoding that a figure's lines or points have for a channel."""
    inner = spec.get("spec", spec)
    marks = [one for one in inner.get("layer", [inner]) if channel in one.get("encoding", {})]
    best = [one for one in marks if "scale" in one["encoding"][channel]] or marks
    return best[0]["encoding"][channel] if best else {}


def _is_log(spec: Mapping[str, Any], channel: str) -> bool:
    return (_encoded(spec, channel).get("scale") or {}).get("type") == "log"


def _title(spec: Mapping[str, Any], channel: str) -> str:
    title = _encoded(spec, channel).get("title") or channel
    return _escaped(" ".join(title) if isinstance(title, list) else title)


def _in_order(spec: Mapping[str, Any], colors: Sequence[str]) -> Any:
    domain = (_encoded(spec, "color").get("scale") or {}).get("domain") or list(colors)
    return lambda color: domain.index(color) if color in domain else len(domain)


def _escaped(text: str) -> str:
    """Words for LaTeX; Greek and arrows are left to Unicode engines."""
    for sign in "\\{}":
        text = text.replace(sign, " ")
    return "".join(f"\\{sign}" if sign in "%$#&_" else f"\\{sign}{{}}" if sign in "^~" else sign for sign in text)
