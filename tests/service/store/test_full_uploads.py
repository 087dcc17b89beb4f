"""What the uploads of one owner may hold together."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from sqlalchemy import event, update

from service.errors import UploadsFull
from service.store import datasets
from service.store.models import dataset
from service.store.session import open_store

ARRAYS = {"x": np.zeros((100, 10)), "y": np.zeros((100, 1))}


def add(store, number, *, owner="anna", room=None):
    return datasets.add_dataset(store, f"{number:064x}", f"set {number}", ARRAYS, owner=owner, max_bytes=room)


def test_uploads_of_an_owner_are_refused_where_they_would_hold_too_much_and_the_refusal_says_what_to_do(store):
    first, _ = add(store, 1)
    size = first.bytes
    assert first.owner == "anna" and size > 100 * 11 * 8
    room = 2 * size
    assert add(store, 2, room=room)[1]
    with pytest.raises(UploadsFull) as refused:
        add(store, 3, room=room)
    told = refused.value.detail
    for word in (
        f"2 uploads of anna hold {room:,} bytes",
        f"add {size:,}",
        f"{room:,} together",
        "DELETE /datasets/ID",
    ):
        assert word in told
    # what is there already takes no room, others have their own, and what is deleted makes room
    assert add(store, 2, room=room) == (datasets.get_dataset(store, f"{2:064x}"), False)
    assert add(store, 4, owner="ben", room=room)[1]
    datasets.delete_dataset(store, f"{1:064x}")
    assert add(store, 3, room=room)[1]


def test_uploads_from_before_owners_had_a_limit_count_for_nobody(store):
    size = add(store, 1)[0].bytes
    with store.write() as connection:
        connection.execute(update(dataset).values(owner=None, bytes=None))
    assert add(store, 2, room=size)[1]
    assert datasets.get_dataset(store, f"{1:064x}").bytes is None


def test_uploads_that_come_at_once_count_each_other(store):
    size = add(store, 0)[0].bytes

    def try_one(number):
        try:
            return add(store, number, room=3 * size)[1]
        except UploadsFull:
            return False

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(try_one, range(1, 7))) == 2


@pytest.mark.parametrize("store_url", ["postgresql"], indirect=True)
def test_of_two_owners_who_upload_the_same_at_once_the_second_gets_the_record_of_the_first(store, store_url):
    left = ["ben"]

    def meanwhile(_connection, _cursor, statement, *_):
        if left and statement.startswith("INSERT INTO dataset"):
            with open_store(store_url) as other:
                add(other, 1, owner=left.pop())

    event.listen(store._bare, "before_cursor_execute", meanwhile)
    record, is_new = add(store, 1, owner="anna")
    assert (record.owner, is_new) == ("ben", False)
