"""The claims of an experiment: more may be added at any time."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import select, update

from service.errors import Conflict, TooLarge
from service.grid.reading import LAYERS
from service.store.experiments import Experiment, get_experiment, require
from service.store.known_settings import settings_of
from service.store.models import experiment
from service.store.remeasured import remeasured_in
from service.store.session import Store
from service.store.subscriptions import rearm
from service.store.wanting import one_at_a_time

MAX_CLAIMS: Final = 200


def measured_in(store: Store, public_id: str, *, is_own: bool = False) -> list[Mapping[str, Any]]:
    """What the trials of an experiment measure, and the names of their layers, once per settings. Raises NotFound.

    With `is_own`, without what was measured again.
    """
    with store.read() as connection:
        number = require(connection, public_id)
        known = settings_of(connection, number)
        columns = [known.column(connection, path) for path in ("measure", LAYERS)]
        again = remeasured_in(connection, number)
    found: list[Mapping[str, Any]] = [
        {"measure": measure, LAYERS: layers} for measure, layers in zip(*columns, strict=True)
    ]
    # which of the trials have it, a claim tells by what it is judged on
    for named in {tuple(layers or ()) for layers in columns[1]} if again.metrics and not is_own else ():
        layers = [layer for layer in sorted(again.layers) if not named or layer <= len(named)]
        found.append({"measure": {"metrics": sorted(again.metrics), "layers": layers}, LAYERS: named})
    return found


def add_claims(store: Store, public_id: str, claims: Sequence[Mapping[str, Any]]) -> Experiment:
    """Add claims that were checked; one that is there already, word for word, is not added again.

    Raises:
        NotFound: no such experiment.
        Conflict: another claim has the id.
        TooLarge: there would be too many.
    """
    with store.write() as connection:
        one_at_a_time(connection)
        number = require(connection, public_id)
        kept = list(connection.scalar(select(experiment.c.claims).where(experiment.c.id == number)) or [])
        for claim in claims:
            same = [one for one in kept if one["id"] == claim["id"]]
            if same and same[0] != claim:
                raise Conflict(f"experiment {public_id} has another claim {claim['id']!r}: choose another id")
            kept += [] if same else [dict(claim)]
        if len(kept) > MAX_CLAIMS:
            raise TooLarge(f"{len(kept)} claims are over the limit of {MAX_CLAIMS} for an experiment")
        connection.execute(update(experiment).where(experiment.c.id == number).values(claims=kept))
        rearm(connection, number, "verdict")
    return get_experiment(store, public_id)
