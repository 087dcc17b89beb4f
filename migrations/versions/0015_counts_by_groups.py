"""What trials amount to is summed by settings first, and without reading grids.

Why: on SQLite a trigger that wanted to know when an experiment was made read its row for each trial, and with it the
grid that stands before that time: 600 KB where it names 100,000 seeds, so that such a grid took four times as long. An
index has both without it. On PostgreSQL rows before and after are put together before they are joined with links, and
the steps that trials are to do are looked up once for all trials of the same settings.
"""

from importlib import import_module

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_INDEX = "ix_experiment_created"
_JOINED, _INDEXED = "JOIN experiment holder ON", f"JOIN experiment holder INDEXED BY {_INDEX} ON"
_ENDED = "('completed', 'diverged', 'failed', 'cancelled')"
_TRAINED = "('completed', 'diverged', 'running')"
_COUNTED = ("id", "state", "settings_id", "last_step", "started_at", "ended_at")
_NUMBERS = ("trials", "done", "goal", "own", "changes")
_LOCKED = (
    "PERFORM 1 FROM trial WHERE id IN (SELECT trial_id FROM new_rows) AND state <> 'completed' "
    "AND xmin <> pg_current_xact_id()::xid ORDER BY id FOR NO KEY UPDATE;"
)
"""Whoever changes such a trial does not see these links yet: we count it as it is once that is committed."""


def upgrade() -> None:
    """The same sums by other statements."""
    op.create_index(_INDEX, "experiment", ["id", "created_at"])
    if op.get_bind().dialect.name == "postgresql":
        _replace_functions()
    else:
        _rewrite_triggers(_JOINED, _INDEXED)


def downgrade() -> None:
    """As it was."""
    if op.get_bind().dialect.name == "postgresql":
        before = import_module("migrations.versions.0010_tallies")
        before.drop_postgresql()
        before.trigger_postgresql()
    else:
        _rewrite_triggers(_INDEXED, _JOINED)
    op.drop_index(_INDEX, "experiment")


def _rewrite_triggers(before: str, after: str) -> None:
    """Of SQLite."""
    found = op.get_bind().exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").all()
    for name, sql in found:
        if before in sql:
            op.execute(f"DROP TRIGGER {name}")
            # as it stands: a colon would be taken for a parameter
            op.get_bind().exec_driver_sql(sql.replace(before, after))


def _replace_functions() -> None:
    """Of PostgreSQL."""
    old, new = _signed("old_rows", -1, _COUNTED), _signed("new_rows", 1, _COUNTED)
    _function(
        "tally_trials",
        _added([_all(new)]),
        _added([_all(old)]),
        _added([_linked(_with_links(_both(old, new))), _all(_both(old, new))]),
    )
    links = ("experiment_id", "wanted", "trial_id")
    old, new = _signed("old_rows", -1, links), _signed("new_rows", 1, links)
    added = [_added([_linked(_with_trials(rows))]) for rows in (new, old, _both(old, new))]
    _function("tally_links", *added, first=_LOCKED)


def _function(name: str, inserted: str, deleted: str, updated: str, first: str = "") -> None:
    op.get_bind().exec_driver_sql(
        f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'INSERT' THEN {first} {inserted}; ELSIF TG_OP = 'DELETE' THEN {deleted}; "
        f"ELSE {first} {updated}; END IF; RETURN NULL; END $$"
    )


def _signed(rows: str, sign: int, columns: tuple[str, ...]) -> str:
    """Rows of a statement, to be added (1) or taken away (-1)."""
    return f"(SELECT {sign} AS sign, {', '.join(columns)} FROM {rows})"


def _both(old: str, new: str) -> str:
    """Rows before and after; what did not change adds up to nothing."""
    return f"({old[1:-1]} UNION ALL {new[1:-1]})"


def _with_links(rows: str) -> str:
    """Trials, once for each experiment that has them."""
    return (
        f"SELECT link.experiment_id, link.wanted, one.* FROM {rows} one "
        "JOIN experiment_trial link ON link.trial_id = one.id"
    )


def _with_trials(rows: str) -> str:
    """Links with the trials that they lead to."""
    columns = ", ".join(f"trial.{name}" for name in _COUNTED)
    return (
        f"SELECT link.experiment_id, link.wanted, link.sign, {columns} FROM {rows} link "
        "JOIN trial ON trial.id = link.trial_id"
    )


def _linked(rows: str) -> str:
    """What signed rows add to their experiments' tallies."""
    done = "one.sign * coalesce(one.last_step, 0)"
    own = "one.started_at >= holder.created_at"
    seen = f"FILTER (WHERE one.sign > 0 AND one.state IN {_TRAINED})"
    grouped = (
        "SELECT one.experiment_id, CASE WHEN one.wanted THEN one.state ELSE 'cancelled' END AS state, "
        "one.wanted AND one.state IN ('queued', 'running') AS is_open, one.settings_id, sum(one.sign) AS trials, "
        f"sum(CASE WHEN one.state IN {_ENDED} THEN {done} ELSE 0 END) AS done, "
        f"sum(CASE WHEN one.state IN {_ENDED} AND {own} THEN {done} ELSE 0 END) AS own, "
        f"min(one.started_at) {seen} AS first_started, max(one.ended_at) {seen} AS last_ended "
        f"FROM ({rows}) one JOIN experiment holder ON holder.id = one.experiment_id GROUP BY 1, 2, 3, 4"
    )
    steps = "(SELECT (document #>> '{training,steps}')::bigint FROM settings WHERE id = settings_id)"
    return (
        "SELECT experiment_id, state, trials, done, "
        f"CASE WHEN is_open THEN trials * coalesce({steps}, 0) ELSE 0 END AS goal, own, first_started, last_ended "
        f"FROM ({grouped}) grouped"
    )


def _all(rows: str) -> str:
    """What they add to the tally of all trials."""
    null = "CAST(NULL AS timestamptz)"
    return (
        "SELECT 0 AS experiment_id, state, sum(sign) AS trials, 0 AS done, 0 AS goal, 0 AS own, "
        f"{null} AS first_started, {null} AS last_ended FROM {rows} one GROUP BY state"
    )


def _added(rows: list[str]) -> str:
    """INSERT of rows into this backend's rows of the tally, summed."""
    sums = ", ".join(f"{name} = tally.{name} + excluded.{name}" for name in _NUMBERS)
    return (
        f"INSERT INTO tally (experiment_id, state, slot, {', '.join(_NUMBERS)}, first_started, last_ended) "
        "SELECT experiment_id, state, pg_backend_pid(), sum(trials), sum(done), sum(goal), sum(own), 1, "
        f"min(first_started), max(last_ended) FROM ({' UNION ALL '.join(rows)}) counted "
        f"GROUP BY experiment_id, state ON CONFLICT (experiment_id, state, slot) DO UPDATE SET {sums}, "
        "first_started = least(tally.first_started, excluded.first_started), "
        "last_ended = greatest(tally.last_ended, excluded.last_ended)"
    )
