"""Many keys in one parameter are looked up, not read through for every row."""

from sqlalchemy import select, text

from service.store.keys import numbered
from service.store.models import trial


def test_pairs_are_joined_by_an_index(store):
    with store.read() as connection:
        pairs = numbered(connection, [(key, key) for key in range(1, 50)])
        query = select(trial.c.id).outerjoin(pairs, pairs.c.key == trial.c.settings_id).order_by(pairs.c.number)
        compiled = query.compile(connection, compile_kwargs={"literal_binds": True})
        is_postgresql = connection.dialect.name == "postgresql"
        plan = connection.execute(
            text(f"EXPLAIN {'' if is_postgresql else 'QUERY PLAN '}{compiled}".replace(":", r"\:"))
        )
        steps = "\n".join(str(row) for row in plan)
    assert "Hash" in steps or "Merge" in steps if is_postgresql else "AUTOMATIC COVERING INDEX (key=?)" in steps
