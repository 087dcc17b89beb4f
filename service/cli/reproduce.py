"""`nfa reproduce`: every preset through a service of its own, judged, drawn and written up in one report."""

import importlib.metadata
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from service.cli.display import counts, out
from service.cli.exits import Exit
from service.cli.local_run import follow, temporary_service
from service.cli.local_service import LocalService
from service.cli.outcome import exit_code
from service.cli.progress import duration
from service.client import Client
from service.presets import Preset, get_preset, list_presets
from service.questions.number_format import number
from service.questions.telling_apart import told_apart
from service.schemas.experiments import ExperimentDetail
from service.schemas.results import VerdictBody

PACKAGES = ("nfa-service", "torch", "ray")


@dataclass(frozen=True)
class Reproduced:
    """A preset that was run: what came of it."""

    preset: Preset
    experiment: ExperimentDetail
    verdicts: Sequence[VerdictBody]
    seconds: float
    figure: Path | None

    @property
    def holds(self) -> bool:
        """Whether every trial ended well and every claim holds."""
        return exit_code(self.experiment, self.verdicts) is Exit.OK

    def as_plain(self) -> dict[str, Any]:
        """For the report's JSON."""
        return {
            "preset": self.preset.name,
            "title": self.preset.title,
            "holds": self.holds,
            "trials": sum(self.experiment.counts.values()),
            "seconds": round(self.seconds, 2),
            "figure": self.figure and self.figure.name,
            "verdicts": [one.model_dump(mode="json") for one in self.verdicts],
        }


def reproduce(
    names: Annotated[list[str] | None, typer.Argument(metavar="[PRESET]..", help="Default: all of them.")] = None,
    folder: Annotated[Path, typer.Option("--out", help="Where report and figures go.")] = Path("reproduction"),
    home: Annotated[
        Path | None, typer.Option(envvar="NFA_HOME", help="Keep the database here; default: a folder that is removed.")
    ] = None,
) -> None:
    """Check every statement about the ansatz that ships as a preset: train, judge, draw, and write a report.

    Starts a service of its own. Writes report.md, report.json and a figure per preset. Exits 1 if a claim fails.
    """
    presets = [get_preset(name) for name in names or [one.name for one in list_presets()]]
    folder.mkdir(parents=True, exist_ok=True)
    with temporary_service(home) as (service, client):
        done = [_one(service, client, preset, folder) for preset in presets]
    write_report(folder, done)
    failed = [one.preset.name for one in done if not one.holds]
    summary = f"does not hold: {', '.join(failed)}" if failed else "every claim holds"
    out.print(f"\n{len(done)} presets, {summary}; report: {folder / 'report.md'}", soft_wrap=True)
    raise typer.Exit(Exit.NO if failed else Exit.OK)


def _one(service: LocalService, client: Client, preset: Preset, folder: Path) -> Reproduced:
    began = time.monotonic()
    ended = follow(service, client, client.submit(preset.body.decode()).id)
    seconds = time.monotonic() - began
    verdicts = client.verdicts(ended.id)
    done = Reproduced(preset, ended, verdicts, seconds, _draw(client, ended, folder / f"{preset.name}.png"))
    word = "holds" if done.holds else "DOES NOT HOLD"
    out.print(f"{preset.name:<16}{word}, {len(verdicts)} claims, {counts(ended)}, {duration(seconds)}", soft_wrap=True)
    return done


def _draw(client: Client, experiment: ExperimentDetail, file: Path) -> Path | None:
    """The experiment's curves; None where nothing can be drawn."""
    # Altair takes half a second to import
    from service.web import drawing, figures  # noqa: PLC0415

    told = told_apart(experiment.axes, experiment.grid)
    asked = ((experiment.grid.get("trial") or {}).get("measure") or {}).get("metrics") or ()
    metric = "sharpness" if "sharpness" in asked else "alignment"
    facet = ",".join(told.facets) or None
    wish = drawing.Wish(color=told.color, dash=told.dash, facet=facet, title=experiment.name, metric=metric)
    try:
        chart = drawing.draw(wish, drawing.ClientSource(client, experiment.id, experiment.grid))
    except drawing.NothingToDraw:
        return None
    figures.save(chart, file)
    return file


def write_report(folder: Path, done: Sequence[Reproduced]) -> None:
    """report.md and report.json."""
    versions = {name: importlib.metadata.version(name) for name in PACKAGES} | {"python": platform.python_version()}
    plain = {"versions": versions, "holds": all(one.holds for one in done), "presets": [one.as_plain() for one in done]}
    (folder / "report.json").write_text(json.dumps(plain, indent=2, allow_nan=False) + "\n")
    (folder / "report.md").write_text(markdown(versions, done))


def markdown(versions: dict[str, str], done: Sequence[Reproduced]) -> str:
    """The report for people."""
    trials = sum(sum(one.experiment.counts.values()) for one in done)
    lines = [
        "# The Neural Feature Ansatz, reproduced",
        "",
        f"{len(done)} presets, {trials:,} networks, {sum(one.seconds for one in done):.0f} s; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        "| preset | statement | claims | |",
        "|---|---|---|---|",
    ]
    for one in done:
        name, title = one.preset.name, one.preset.title
        lines.append(f"| [{name}](#{name}) | {title} | {len(one.verdicts)} | {_word(one.holds)} |")
    for one in done:
        lines += _section(one)
    return "\n".join(lines) + "\n"


def _section(one: Reproduced) -> list[str]:
    lines = ["", f"## {one.preset.name}", "", f"{one.preset.title}. {counts(one.experiment)}, {one.seconds:.1f} s.", ""]
    if one.figure is not None:
        lines += [f"![{one.preset.title}]({one.figure.name})", ""]
    lines += ["| claim | decides | threshold | trials | |", "|---|---|---|---|---|"]
    for claim in one.verdicts:
        says = f"{claim.id}: {claim.says}" if claim.says else claim.id
        worst = number(claim.worst) + (f" ({claim.worst_trial})" if claim.worst_trial else "")
        left_out = sum(claim.left_out.values())
        judged = f"{claim.trials}" + (f", {left_out} left out" if left_out else "")
        lines.append(f"| {says} | {worst} | {claim.threshold} | {judged} | {_word(claim.holds)} |")
    return lines


def _word(holds: bool | None) -> str:
    return {True: "holds", False: "**does not hold**", None: "open"}[holds]
