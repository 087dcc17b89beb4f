"""What the groups of a question pool, counted without reading a measurement."""

from collections.abc import Sequence

from sqlalchemy import select

from service.grid.reading import setting
from service.questions.pooling import Counted, Pooling, pooling_of
from service.states import TrialState
from service.store.experiments import require
from service.store.known_settings import documents_of
from service.store.members import groups_of
from service.store.models import experiment as experiment_table
from service.store.session import Store


def pooled(
    store: Store,
    experiment: str,
    group_by: Sequence[str],
    where: str = "",
    *,
    with_running: bool = False,
    also: Sequence[str] = (),
) -> Pooling:
    """Which axes of an experiment the trials of each group differ in, and how many settings and seeds they have.

    Args:
        store: where they are.
        experiment: public id.
        group_by: paths that groups agree in; checked by the caller.
        where: only trials that pass.
        with_running: let trials that still run enter, as curves do, beside the completed ones.
        also: further experiments, whose groups are their own.
    """
    states = {TrialState.COMPLETED, *([TrialState.RUNNING] if with_running else [])}
    with store.read() as connection:
        numbers = [require(connection, one) for one in (experiment, *also)]
        query = select(experiment_table.c.axes).where(experiment_table.c.id.in_(numbers))
        axes = list(dict.fromkeys(path for own in connection.scalars(query) for path in own))
        groups = groups_of(connection, numbers, group_by, where, by_experiment=bool(also))
        counted = [
            [Counted(one.settings_id, one.seed) for one in group.members if one.state in states] for group in groups
        ]
        documents = documents_of(connection, {one.settings for group in counted for one in group})
    free = [path for path in axes if path not in (*group_by, "seed")]
    values = {path: {key: repr(setting(document, path)) for key, document in documents.items()} for path in free}
    return pooling_of(counted, free, values)
