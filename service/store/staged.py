"""Many trials at once on PostgreSQL: by COPY into temporary tables, and from there where they belong.

Nothing here waits for those who change who wants what, nor do they for it: what is new is nobody else's before the
transaction ends, and of what was there before, rows are only kept from being deleted. A million trials pass through
in pieces, so that memory stays small.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, text

from service.grid.points import Point
from service.store.beginnings import share_of
from service.store.session import utc_now

_LINES: Final = 2_000
_SORTED: Final = 5_000
"""So many trials are inserted by fingerprint, so that two submissions never wait for each other; more in the grid's
order, by which they are read."""
_COUNTED: Final = 1_000
"""PostgreSQL counts tables of more rows before it joins them."""
_MADE: Final = (
    "CREATE TEMP TABLE staged_point (place bigint, id bigint DEFAULT nextval(pg_get_serial_sequence('settings', 'id')),"
    " digest text, stack_key text, device text, document jsonb, layers jsonb) ON COMMIT DROP",
    "CREATE TEMP TABLE staged_trial (place bigint, id bigint DEFAULT nextval(pg_get_serial_sequence('trial', 'id')),"
    " point bigint, seed bigint, fingerprint text, beginning text, keeps boolean, position bigint) ON COMMIT DROP",
)
_POINTS: Final = "COPY staged_point (place, digest, stack_key, device, document, layers) FROM STDIN"
_TRIALS: Final = "COPY staged_trial (place, point, seed, fingerprint, beginning, keeps{more}) FROM STDIN"


def stage(
    connection: Connection,
    points: Sequence[Point],
    trials: Iterable[tuple[int, Point, int, str]],
    beginnings: Mapping[str, str],
    first: int | None,
) -> int:
    """Put points and their trials, in the points' order, into the temporary tables; answers how many trials.

    Those that are new will have the following keys; or from `first` on, by their place.
    """
    connection.execute(text("SET LOCAL statement_timeout = '10min'"))
    for statement in _MADE:
        connection.execute(text(statement))
    _copy(connection, _POINTS, _point_lines(points))
    more = "" if first is None else ", id"
    count = _copy(connection, _TRIALS.format(more=more), _trial_lines(points, trials, beginnings, first))
    if count > _COUNTED:
        connection.execute(text("ANALYZE staged_point"))
        connection.execute(text("ANALYZE staged_trial"))
    return count


def insert_staged(connection: Connection, number: int, priority: int, *, waiting: bool) -> int:
    """Insert the settings and trials that the store has not; answers how many trials.

    Args:
        connection: with the trials staged.
        number: the experiment's key.
        priority: with which they wait.
        waiting: for the experiment, which is not paused.
    """
    _keep_there(connection, "settings", "staged_point", "digest")
    _keep_there(connection, "trial", "staged_trial", "fingerprint")
    connection.execute(
        text(
            "INSERT INTO settings (id, digest, stack_key, document, layers) "
            "SELECT id, digest, stack_key, document, layers FROM staged_point ORDER BY digest "
            "ON CONFLICT (digest) DO NOTHING"
        )
    )
    connection.execute(
        text(
            "UPDATE staged_point SET id = settings.id FROM settings "
            "WHERE settings.digest = staged_point.digest AND settings.id <> staged_point.id"
        )
    )
    many = int(connection.scalar(text(f"SELECT count(*) FROM (SELECT 1 FROM staged_trial LIMIT {_SORTED + 1}) s")) or 0)
    # in one order, so that two submissions of the same trials wait for each other and not in a circle
    order = "staged.fingerprint" if many <= _SORTED else "staged.place"
    made = connection.execute(
        text(
            "INSERT INTO trial (id, fingerprint, settings_id, seed, stack_key, device, state, queued_for, priority, "
            "created_at, beginning, keeps) SELECT staged.id, staged.fingerprint, point.id, staged.seed, "
            "point.stack_key, point.device, 'queued', :queued_for, :priority, :now, staged.beginning, staged.keeps "
            "FROM staged_trial staged JOIN staged_point point ON point.place = staged.point "
            f"ORDER BY {order} ON CONFLICT (fingerprint) DO NOTHING"
        ),
        {
            "queued_for": number if waiting else None,
            "priority": priority if waiting else 0,
            "now": utc_now(),
        },
    )
    return made.rowcount


def place_staged(connection: Connection, number: int, following: int) -> None:
    """Give those trials that the experiment has not their positions, in the grid's order, from one on."""
    if not following:
        connection.execute(text("UPDATE staged_trial SET position = place"))
        return
    linked = (
        "SELECT 1 FROM experiment_trial own JOIN trial ON trial.id = own.trial_id "
        "WHERE own.experiment_id = :number AND trial.fingerprint = staged.fingerprint"
    )
    missing = (
        "SELECT place, row_number() OVER (ORDER BY place) - 1 AS number FROM staged_trial staged "
        f"WHERE NOT EXISTS ({linked})"
    )
    connection.execute(
        text(
            f"UPDATE staged_trial SET position = :following + missing.number FROM ({missing}) missing "
            "WHERE missing.place = staged_trial.place"
        ),
        {"number": number, "following": following},
    )


def link_new(connection: Connection, number: int) -> None:
    """Link staged trials that have a position, all of which are new."""
    connection.execute(
        text(
            "INSERT INTO experiment_trial (experiment_id, position, trial_id, wanted) "
            "SELECT :number, position, id, true FROM staged_trial WHERE position IS NOT NULL ORDER BY position"
        ),
        {"number": number},
    )


def link_staged(connection: Connection, number: int, *, stable: bool) -> None:
    """Link trials that have a position and no link yet.

    Args:
        connection: with the trials staged and inserted.
        number: the experiment's key.
        stable: only those whose state nobody changes meanwhile: new ones, which nobody sees, and completed ones. For
            the others `one_at_a_time` comes first, since counting them keeps them from being changed.
    """
    linked = "SELECT 1 FROM experiment_trial own WHERE own.experiment_id = :number AND own.trial_id = trial.id"
    some = "(trial.id = staged.id OR trial.state = 'completed')" if stable else f"NOT EXISTS ({linked})"
    connection.execute(
        text(
            "INSERT INTO experiment_trial (experiment_id, position, trial_id, wanted) "
            "SELECT :number, staged.position, trial.id, true "
            "FROM staged_trial staged JOIN trial ON trial.fingerprint = staged.fingerprint "
            f"WHERE staged.position IS NOT NULL AND {some} ORDER BY staged.position"
        ),
        {"number": number},
    )


def open_before(connection: Connection) -> list[int]:
    """Keys of the staged trials that were there before and wait, run or are cancelled; in order."""
    query = (
        "SELECT trial.id FROM staged_trial staged JOIN trial ON trial.fingerprint = staged.fingerprint "
        "WHERE trial.id <> staged.id AND trial.state IN ('queued', 'running', 'cancelled') ORDER BY trial.id"
    )
    return list(connection.scalars(text(query)))


def share_staged(connection: Connection) -> None:
    """Let trials that were there before, and have not begun, share their beginnings as the staged ones say."""
    connection.execute(
        text(
            "UPDATE trial SET keeps = true, beginning = staged.beginning FROM staged_trial staged "
            "WHERE trial.fingerprint = staged.fingerprint AND staged.keeps AND NOT trial.keeps "
            "AND trial.state IN ('queued', 'cancelled')"
        )
    )


def drop_staged(connection: Connection) -> None:
    """Another grid of this transaction finds the names free."""
    connection.execute(text("DROP TABLE staged_trial, staged_point"))


def _keep_there(connection: Connection, table: str, staged: str, unique: str) -> None:
    """Keep rows that are there from being deleted until the transaction ends; they may be changed meanwhile."""
    rows = f"SELECT {table}.id FROM {table} JOIN {staged} USING ({unique}) ORDER BY {table}.id FOR KEY SHARE OF {table}"
    connection.execute(text(f"SELECT count(*) FROM ({rows}) kept"))


def _point_lines(points: Sequence[Point]) -> Iterator[str]:
    for place, point in enumerate(points):
        layers = _escaped(json.dumps(list(point.layers))) if point.layers else r"\N"
        # the settings as they are hashed, so that they need not be made and written again
        words = (point.digest, _escaped(point.stack_key), point.device, _escaped(point.text), layers)
        yield "\t".join((str(place), *words)) + "\n"


def _trial_lines(
    points: Sequence[Point],
    trials: Iterable[tuple[int, Point, int, str]],
    beginnings: Mapping[str, str],
    first: int | None,
) -> Iterator[str]:
    at = 0
    for place, (_, point, seed, fingerprint) in enumerate(trials):
        while points[at] is not point:
            at += 1
        share = share_of(point, seed, beginnings)
        key = "" if first is None else f"\t{first + place}"
        beginning = share["beginning"] or r"\N"
        yield f"{place}\t{at}\t{seed}\t{fingerprint}\t{beginning}\t{share['keeps']}{key}\n"


def _escaped(word: str) -> str:
    """As COPY reads text."""
    return word.replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def _copy(connection: Connection, statement: str, lines: Iterator[str]) -> int:
    """Send lines in blocks; answers how many."""
    driver: Any = connection.connection.driver_connection
    count = 0
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        while block := list(islice(lines, _LINES)):
            copy.write("".join(block))
            count += len(block)
    return count
