"""Upgrades a database in a process that dies before a statement, for each statement in turn; see test_migrations.py.

    python killed.py URL STATEMENT...

Prints, by line, whether the database was empty afterwards, and whether upgrading it again brought it to the head.
Processes are forked from this one, which has imported everything and opened nothing.
"""

import os
import sys

from sqlalchemy import Engine, event, inspect

from service.store import schema
from service.store.session import open_store


def _upgrade_and_die(url: str, statement: int) -> None:
    left = statement

    @event.listens_for(Engine, "before_cursor_execute")
    def _count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os._exit(9)

    with open_store(url) as store:
        schema.upgrade(store)
    os._exit(0)


def main(url: str, statements: list[int]) -> None:
    for statement in statements:
        child = os.fork()
        if child == 0:
            _upgrade_and_die(url, statement)
        died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
        with open_store(url) as store:
            with store.read() as connection:
                is_empty = inspect(connection).get_table_names() == []
            if not died:
                print("ended", schema.check(store))
                return
        print("killed", "empty" if is_empty else "not empty", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], [int(number) for number in sys.argv[2:]])
