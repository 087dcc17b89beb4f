"""A backup restored under a running API, which hands out ids again: nothing is told of what had them before."""

import pytest

from service.store import backups
from service.store.session import open_store

ASKED = (
    "/api/v1/trials/t1",
    "/api/v1/trials/t1/measurements",
    "/api/v1/experiments/e1",
    "/api/v1/experiments/e1/trials",
    "/api/v1/experiments/e1/trials?where=training.weight_decay > 0",
    "/api/v1/experiments/e1/results",
    "/api/v1/experiments/e1/curves",
    "/api/v1/experiments/e1/phase?x=training.weight_decay&y=seed",
    "/api/v1/experiments/e1/verdicts",
    "/api/v1/experiments/e1/measurements?format=csv",
    "/experiments/e1",
    "/trials/t1",
)
TELLING = {path for path in ASKED if "e1/verdicts" not in path and "t1/measurements" not in path}
"""Answers that hold the weight decay."""


@pytest.mark.parametrize("is_trained", [False, True])
def test_answers_after_a_restore_are_about_the_restored_store(
    api, submit, store, store_url, train_queue, tmp_path, is_trained
):
    def ask(decay):
        claims = [{"id": "a", "metric": "alignment", "every_trial": ">= 0.5"}]
        assert submit(axes={"training.weight_decay": [decay]}, seeds=1, claims=claims)["id"] == "e1"
        if is_trained:
            store.incarnation = None  # by a dispatcher that begins now
            train_queue()
        return {path: api.get(path) for path in ASKED}

    backups.back_up(store, tmp_path / "backup")
    before = ask(0.111)
    with open_store(store_url) as other:
        backups.restore(other, tmp_path / "backup", replace=True)
    after = ask(0.222)
    for path in ASKED:
        assert before[path].status_code == after[path].status_code == 200, path
        assert "0.222" not in before[path].text and "0.111" not in after[path].text, path
        if path in TELLING and (is_trained or ("curves" not in path and "measurements" not in path)):
            assert "0.111" in before[path].text and "0.222" in after[path].text, path
        if tag := before[path].headers.get("etag"):
            assert api.get(path, headers={"If-None-Match": tag}).status_code == 200, path
