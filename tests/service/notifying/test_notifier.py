"""From a grid to a receiver: recorded once, sent until it is taken, given up after a day; on both databases."""

import ipaddress
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import pairwise

import pytest
from receiver import receiving
from sqlalchemy import func, select, update

from service.grid.expansion import expand
from service.notifying.secret import secret_of
from service.notifying.signing import signature
from service.notifying.worker import Notifier
from service.settings import Settings
from service.states import TrialState
from service.store import claims, control, notifications, submissions
from service.store.models import notification, subscription, trial
from service.store.session import utc_now

HERE = [ipaddress.ip_network("127.0.0.0/8")]
SECRET = b"a secret of the test"
CLAIM = {"id": "fits", "says": "it fits", "metric": "alignment", "every_trial": ">= 0.1"}
ALL = ["end", "failed", "verdict"]


@pytest.fixture
def submit(store, tiny_grid):
    def made(url, on=ALL, **more):
        grid = tiny_grid(seeds=1, notify=[{"url": url, "on": on}], **more)
        return submissions.create_experiment(store, expand(grid), owner="anna", document=grid).id

    return made


def _set(store, state):
    with store.write() as connection:
        connection.execute(update(trial).values(state=state, ended_at=utc_now(), queued_for=None))


def test_the_end_and_the_verdicts_are_told_once_signed_and_with_what_they_say(store, submit):
    with receiving() as receiver:
        one = submit(receiver.url, claims=[CLAIM], name="told")
        notifier = Notifier(store, lambda: SECRET, HERE, "https://lab.org/nfa/")
        assert notifier.turn() == 0 and receiver.got == []
        _set(store, TrialState.COMPLETED)
        assert notifier.turn() == 2 and notifier.turn() == 0
        told = {got.headers["X-NFA-Event"]: got for got in receiver.got}
    assert set(told) == {"end", "verdict"}
    for event, got in told.items():
        body = json.loads(got.body)
        assert got.headers["X-NFA-Signature"] == signature(SECRET, body["sent_at"], got.body)
        assert got.headers["X-NFA-Delivery"] == body["id"] and body["event"] == event
        assert body["experiment"] == {
            "id": one,
            "name": "told",
            "owner": "anna",
            "state": "completed",
            "counts": {"completed": 2},
            "url": f"https://lab.org/nfa/experiments/{one}",
        }
        assert [verdict["id"] for verdict in body["verdicts"]] == ["fits"]
    listed = notifications.list_notifications(store, one)
    assert {row["event"] for row in listed} == {"end", "verdict"}
    assert all(row["delivered_at"] and row["attempts"] == 1 and row["next_at"] is None for row in listed)


def test_the_first_failure_is_told_while_others_run(store, submit):
    with receiving() as receiver:
        submit(receiver.url)
        with store.write() as connection:
            connection.execute(update(trial).where(trial.c.id == 1).values(state="failed", queued_for=None))
        notifier = Notifier(store, lambda: SECRET, HERE)
        assert (notifier.turn(), notifier.turn()) == (1, 0)
        assert [got.headers["X-NFA-Event"] for got in receiver.got] == ["failed"]


def test_what_is_not_taken_is_sent_again_with_the_same_id_and_longer_waits(store, submit):
    with receiving(500, 503, 204) as receiver:
        one = submit(receiver.url, ["end"])
        _set(store, TrialState.COMPLETED)
        notifier = Notifier(store, lambda: SECRET, HERE)
        for attempt in range(1, 4):
            assert notifier.turn() == 1
            (row,) = notifications.list_notifications(store, one)
            assert row["attempts"] == attempt
            if attempt < 3:
                assert str(503 if attempt == 2 else 500) in row["error"] and row["next_at"] > utc_now()
                assert notifier.turn() == 0
                _wait_is_over(store)
        assert row["delivered_at"] is not None and row["error"] is None
        assert len({got.headers["X-NFA-Delivery"] for got in receiver.got}) == 1 and len(receiver.got) == 3


def _wait_is_over(store):
    with store.write() as connection:
        connection.execute(update(notification).values(next_at=utc_now() - timedelta(seconds=1)))


def test_waits_double_and_attempts_end_after_a_day(store, submit):
    waits = [notifications.wait_after(n) for n in range(1, notifications.MOST_ATTEMPTS)]
    assert waits[0] == timedelta(seconds=30) and all(a <= b <= 2 * a for a, b in pairwise(waits))
    assert timedelta(hours=12) < sum(waits, timedelta()) < timedelta(days=2)
    one = submit("http://127.0.0.1:9/", ["end"])
    _set(store, TrialState.COMPLETED)
    notifications.record_due(store)
    with store.write() as connection:
        connection.execute(update(notification).values(attempts=notifications.MOST_ATTEMPTS - 1))
    assert Notifier(store, lambda: SECRET, HERE).turn() == 1
    (row,) = notifications.list_notifications(store, one)
    assert row["next_at"] is None and row["delivered_at"] is None and "Refused" in row["error"]


def test_a_private_address_is_given_up_at_once_and_says_how_to_allow_it(store, submit):
    with receiving() as receiver:
        one = submit(receiver.url, ["end"])
        _set(store, TrialState.COMPLETED)
        Notifier(store, lambda: SECRET, []).turn()
        (row,) = notifications.list_notifications(store, one)
        assert row["next_at"] is None and "NFA_NOTIFY_NETWORKS" in row["error"] and receiver.got == []


def test_two_workers_record_an_event_once_and_one_takes_it(store, submit):
    submit("http://127.0.0.1:9/", ["end"])
    _set(store, TrialState.COMPLETED)
    assert (notifications.record_due(store), notifications.record_due(store)) == (1, 0)
    now = utc_now()
    first = notifications.take(store, now)
    assert first is not None and notifications.take(store, now) is None
    # whoever took it died; what that one still reports counts no more
    second = notifications.take(store, now + notifications.LEASE)
    assert second is not None and (second.id, second.attempts) == (first.id, 2)
    notifications.delivered(store, first)
    with store.read() as connection:
        assert connection.scalar(select(notification.c.delivered_at)) is None


def test_what_runs_again_or_is_claimed_anew_is_told_anew(store, submit):
    one = submit("http://127.0.0.1:9/", ["end", "verdict"])
    _set(store, TrialState.FAILED)
    assert notifications.record_due(store) == 1
    control.retry_experiment(store, one, "failed")
    assert notifications.record_due(store) == 0
    _set(store, TrialState.COMPLETED)
    assert notifications.record_due(store) == 1
    claims.add_claims(store, one, [CLAIM])
    assert notifications.record_due(store) == 1
    events = [row["event"] for row in notifications.list_notifications(store, one)]
    assert events == ["verdict", "end", "end"]


def test_a_deleted_experiment_tells_nothing_more_and_old_messages_go(store, submit):
    one = submit("http://127.0.0.1:9/", ["end"])
    other = submit("http://127.0.0.1:9/", ["end"], axes={"training.weight_decay": [0.7]})
    control.delete_experiment(store, one)
    _set(store, TrialState.COMPLETED)
    assert notifications.record_due(store) == 1
    message = notifications.take(store)
    assert message is not None and message.body["experiment"]["id"] == other
    notifications.delivered(store, message)
    assert notifications.forget_old(store) == 1
    with store.read() as connection:
        assert connection.scalar(select(func.count()).select_from(subscription)) == 1
    assert notifications.forget_old(store, utc_now() + timedelta(days=31)) == 1


def test_a_secret_is_made_once_for_its_owner_alone(tmp_path):
    settings = Settings(home=tmp_path / "home")
    made = secret_of(settings)
    assert len(made) == 64 and secret_of(settings) == made
    assert (tmp_path / "home" / "notify_secret").stat().st_mode & 0o777 == 0o600
    assert secret_of(Settings(home=tmp_path, notify_secret="x" * 16)) == b"x" * 16


def test_two_processes_that_make_a_secret_sign_with_the_same(tmp_path):
    settings = Settings(home=tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: secret_of(settings), range(32)))) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["notify_secret"]


def test_without_a_secret_nothing_is_sent_and_the_reason_stands_beside_it(store, submit, tmp_path):
    (tmp_path / "file").write_text("no folder")
    nowhere = Settings(home=tmp_path / "file" / "home")
    with receiving() as receiver:
        one = submit(receiver.url, ["end"])
        _set(store, TrialState.COMPLETED)
        assert Notifier(store, lambda: secret_of(nowhere), HERE).turn() == 1
        (row,) = notifications.list_notifications(store, one)
        assert "NFA_NOTIFY_SECRET" in row["error"] and row["next_at"] is not None and receiver.got == []
