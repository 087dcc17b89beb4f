"""Brings the experiments of a bundle into a store: trials that it has are reused, and nothing is trained.

Settings are not taken from the bundle but from its grids, expanded here: a trial counts as what its fingerprint says
only where the grid makes that fingerprint, under this version's limits. What was measured is taken as it stands, so
that who imports a bundle trusts who made it; every trial's provenance says where it came from.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from service.bundles import layout, uploads
from service.bundles.opening import Opened
from service.bundles.records import ExperimentRecord, TrialRecord, experiment_record, trial_records
from service.bundles.tables import Again, groups, reported
from service.datasets.safetensors_files import SafetensorsFile
from service.errors import InvalidBundle, InvalidDataset, InvalidGrid
from service.grid.expansion import Expansion
from service.grid.fitting import Limits
from service.grid.points import Point
from service.grid.reading import LAYERS
from service.grid.remeasurement import layers_asked, names_asked
from service.planning.planner import Addition
from service.states import TrialState
from service.store.expansions import expanded
from service.store.imports import Linked, Trained, import_trials, known_states, link_experiment
from service.store.insertions import Placed
from service.store.remeasured_records import RequestMade, RequestsElsewhere
from service.store.rounds import trials_of_round
from service.store.session import Store

_AT_ONCE: Final = 500
_WEIGHTS_BYTES: Final = 1 << 30


@dataclass(frozen=True)
class Imported:
    """An experiment that was brought in."""

    source: str
    """Its id in the bundle."""
    id: str
    name: str
    trials: int
    reused: int
    """Trials that the store had already, whatever their state."""


@dataclass(frozen=True)
class Read:
    """An experiment of a bundle whose grid, claims and trials fit together."""

    source: str
    record: ExperimentRecord
    document: Mapping[str, Any]
    expansion: Expansion
    trials: tuple[TrialRecord, ...]
    """By position."""
    points: Mapping[str, tuple[Point, int]]
    """Fingerprint -> point and seed."""

    requests: tuple[RequestMade, ...] = ()
    """Those that measured its trials again."""

    def rows_at_most(self) -> int:
        """Rows that its trials can have measured."""
        return sum(_rows_of(self.points[one.fingerprint][0]) for one in self.trials)


def import_bundle(store: Store, bundle: Opened, limits: Limits, owner: str = "local") -> list[Imported]:
    """Bring in every experiment of a bundle.

    Raises:
        InvalidBundle: what it holds does not fit together; experiments before the one that does not fit are in.
    """
    uploads.import_datasets(store, bundle, owner)
    read = [read_experiment(store, bundle, source, limits) for source in bundle.experiments]
    taken, requests = _taken(read), RequestsElsewhere()
    for one in read:
        requests.tell(one.requests)
    done = []
    for one in read:
        known = known_states(store, [trial.fingerprint for trial in one.trials])
        own = {trial.trial_id: trial for trial in one.trials if taken[trial.fingerprint] == one.source}
        _import_trials(store, bundle, one, own, requests)
        links = [(trial.fingerprint, *one.points[trial.fingerprint], _is_wanted(trial)) for trial in one.trials]
        about = (one.record.created_at, links, one.record.claims, one.record.made(), one.requests)
        made = link_experiment(store, Linked(one.expansion, one.document, owner, *about), requests)
        done.append(Imported(one.source, made, str(one.record.name), len(links), len(known)))
    return done


def _is_wanted(trial: TrialRecord) -> bool:
    return trial.state != TrialState.CANCELLED


def _taken(read: Sequence[Read]) -> dict[str, str]:
    """Fingerprint -> the experiment whose record of it counts: the first to which it was not cancelled."""
    found: dict[str, str] = {}
    for wanted in (True, False):
        for one in read:
            for trial in one.trials:
                if _is_wanted(trial) is wanted:
                    found.setdefault(trial.fingerprint, one.source)
    return found


def read_experiment(store: Store, bundle: Opened, source: str, limits: Limits) -> Read:
    """An experiment, its grid expanded and its trials held against that. Raises InvalidBundle."""
    record = experiment_record(bundle.document(f"{source}/{layout.EXPERIMENT}"), f"{source}/{layout.EXPERIMENT}")
    document = bundle.document(f"{source}/{layout.GRID}")
    if not isinstance(document, dict):
        raise InvalidBundle(f"{source}/{layout.GRID} is no mapping")
    try:
        expansion = expanded(store, {**document, **record.header()}, limits)
        trials_made = [*expansion.trials(), *_added(store, document, record, limits)]
    except InvalidGrid as error:
        raise InvalidBundle(
            f"{source}/{layout.GRID} is no grid of this version or is over its limits ({error.detail}): "
            "install the version under made_with in versions.json"
        ) from error
    points = {fingerprint: (point, seed) for _, point, seed, fingerprint in trials_made}
    name = f"{source}/{layout.TRIALS}"
    trials = sorted(trial_records(bundle.path(name), name), key=lambda one: one.position)
    prints = {one.fingerprint for one in trials}
    if len(prints) < len(trials) or len({one.trial_id for one in trials}) < len(trials):
        raise InvalidBundle(f"{name} names a trial twice")
    if prints != points.keys() or any(points[one.fingerprint][1] != one.seed for one in trials):
        raise InvalidBundle(
            f"{name} has other trials than its grid makes in this version: {len(prints - points.keys())} are not the "
            f"grid's, {len(points.keys() - prints)} are missing. A bundle of another numerical version is read by that "
            "version: see `numerical` in its versions.json"
        )
    requests = tuple(told.made() for told in record.measured_again)
    if strange := {by.request for one in trials for by in one.measured_again} - {told.id for told in requests}:
        raise InvalidBundle(f"{name} names {min(strange)}, of which {source}/{layout.EXPERIMENT} says nothing")
    return Read(source, record, document, expansion, tuple(trials), points, requests)


def _added(store: Store, document: Mapping[str, Any], record: ExperimentRecord, limits: Limits) -> Iterator[Placed]:
    """The trials that its searches added to its grid. Raises InvalidGrid."""
    for one in record.rounds:
        additions = [Addition(part.point, tuple(part.seeds)) for part in one.additions]
        yield from trials_of_round(store, document, additions, limits)[1]


def _import_trials(
    store: Store, bundle: Opened, one: Read, own: Mapping[str, TrialRecord], requests: RequestsElsewhere
) -> None:
    """The experiment's own trials, first those with rows."""
    left = dict(own)
    known = {trial.trial_id for trial in one.trials}
    name = f"{one.source}/{layout.MEASUREMENTS}"
    for frame in groups(bundle.path(name), name, one.rows_at_most()):
        if strange := set(frame["trial_id"].unique().to_list()) - known:
            raise InvalidBundle(f"{name} has rows of {min(strange)[:40]!a}, which is no trial of {one.source}")
        last = dict(frame.group_by("trial_id", maintain_order=True).agg(pl.col("step").max()).iter_rows())
        members = [left.pop(trial) for trial in last if trial in left]
        if wrong := [trial for trial in members if trial.has_finals and trial.last_step != last[trial.trial_id]]:
            raise InvalidBundle(f"{name} does not end where {wrong[0].trial_id} ended, at step {wrong[0].last_step}")
        places = {trial.trial_id: place for place, trial in enumerate(members)}
        measured = [one.points[trial.fingerprint][0].settings["measure"] for trial in members]
        again = {place: _again(one, trial) for place, trial in enumerate(members) if trial.measured_again}
        rows = reported(frame, places, measured, again)
        import_trials(store, [_trained(bundle, one, trial) for trial in members], rows, requests)
    for some in _in_parts(list(left.values())):
        if lost := [trial for trial in some if trial.has_finals]:
            raise InvalidBundle(f"{name} has no rows of {lost[0].trial_id}, which {lost[0].state}")
        import_trials(store, [_trained(bundle, one, trial) for trial in some], None, requests)


def _in_parts(trials: Sequence[TrialRecord]) -> Iterator[Sequence[TrialRecord]]:
    for start in range(0, len(trials), _AT_ONCE):
        yield trials[start : start + _AT_ONCE]


def _trained(bundle: Opened, one: Read, trial: TrialRecord) -> Trained:
    point, seed = one.points[trial.fingerprint]
    return Trained(
        point,
        seed,
        trial.fingerprint,
        trial.state,
        trial.last_step,
        trial.columns(bundle.digest),
        [made.model_dump() for made in trial.attempts],
        list(_weights(bundle, point, trial.trial_id)),
        [by.kept() for by in trial.measured_again],
    )


def _again(one: Read, trial: TrialRecord) -> list[Again]:
    """What was measured of a trial beyond its settings."""
    point = one.points[trial.fingerprint][0]
    asked = {request.id: request.asked for request in one.requests}
    document = {**point.settings, LAYERS: point.layers}
    return [
        Again(
            frozenset(names_asked(asked[by.request])),
            frozenset(layers_asked(asked[by.request], document)),
            frozenset(by.steps),
        )
        for by in trial.measured_again
    ]


def _weights(bundle: Opened, point: Point, trial: str) -> Iterator[tuple[int, bytes]]:
    """The files that a trial keeps, by step; their headers are read, and nothing else of them."""
    for step in point.settings["measure"].get("weights", ()):
        name = layout.weights_file(trial, step)
        if name not in bundle.sums:
            continue
        path = bundle.path(name)
        if path.stat().st_size > _WEIGHTS_BYTES:
            raise InvalidBundle(f"{name} has {path.stat().st_size:,} bytes, over the limit of {_WEIGHTS_BYTES:,}")
        content = path.read_bytes()
        try:
            SafetensorsFile(content)
        except (InvalidDataset, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidBundle(f"{name} is no .safetensors file: {str(error)[:200]}") from error
        yield step, content


def _rows_of(point: Point) -> int:
    """More rows than a trial of these settings has: its points, the first and the last, and steps whose kept weights
    were measured again, for every layer.
    """
    measure = point.settings["measure"]
    if "steps" in measure:
        points = len(measure["steps"])
    elif "every" in measure:
        points = point.settings["training"].get("steps", 0) // measure["every"]
    else:
        points = measure["points"]
    layers = layers_asked({"layers": "all"}, {**point.settings, LAYERS: point.layers})
    return (points + 3 + len(measure.get("weights", ()))) * max(1, len(measure["layers"]), len(layers))
