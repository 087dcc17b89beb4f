"""What a longer trial takes over from the shorter one that it follows: rows at steps it measures too, and the state.

Copied in the database. The shorter one may have been measured again, for metrics and layers that the longer one's
settings do not name: of those nothing is copied.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, insert, literal, select
from sqlalchemy.sql import ColumnElement

from nfa_kernels.names import alignment_id
from service.store.keys import among, among_words
from service.store.measured_models import (
    LAYER_COLUMNS,
    NETWORK_COLUMNS,
    NETWORK_LAYER,
    checkpoint,
    kept_state,
    kept_weights,
    layer_measurement,
    measurement,
    parametrised_measurement,
)
from service.store.models import trial
from service.store.partitions import cover


def take_over(connection: Connection, trials: Sequence[int], steps: Sequence[int], measure: Mapping[str, Any]) -> None:
    """Copy what trials, which have no rows, take over from those they follow.

    Args:
        connection: in which these trials are locked.
        trials: that follow others of one length each.
        steps: measured by both.
        measure: canonical settings of what these trials measure.
    """
    cover(connection, trials)
    here = among(connection, trial.c.id, trials)
    metrics = [*measure["metrics"], *map(alignment_id, measure.get("exponents", ()))]
    layers = [NETWORK_LAYER, *measure["layers"]]
    named = parametrised_measurement.c
    conditions = {
        measurement: literal(True),
        layer_measurement: among(connection, layer_measurement.c.layer, layers),
        parametrised_measurement: and_(
            among(connection, named.layer, layers), among_words(connection, named.name, metrics)
        ),
    }
    unread = frozenset((*NETWORK_COLUMNS, *LAYER_COLUMNS)) - frozenset(metrics)
    for table, condition in conditions.items():
        _copy(connection, table, and_(here, among(connection, table.c.step, steps), condition), unread)
    weights = among(connection, kept_weights.c.step, measure.get("weights", ()))
    _copy(connection, kept_weights, and_(here, weights), frozenset())
    connection.execute(delete(checkpoint).where(among(connection, checkpoint.c.trial_id, trials)))
    content = select(trial.c.id, kept_state.c.content).join(kept_state, kept_state.c.trial_id == trial.c.follows)
    connection.execute(insert(checkpoint).from_select(["trial_id", "content"], content.where(here)))


def _copy(connection: Connection, table: Table, condition: ColumnElement[bool], unread: frozenset[str]) -> None:
    """Insert rows of followed trials as those of the trials that follow them, without what is not read."""
    columns = [column for column in table.columns if column.name not in unread | {"trial_id"}]
    rows = select(trial.c.id, *columns).join(table, table.c.trial_id == trial.c.follows).where(condition)
    connection.execute(insert(table).from_select(["trial_id", *(column.name for column in columns)], rows))
