"""A study whose kept weights were measured again is a bundle that verifies, reruns included."""

from training_here import measure_everything, train_everything

from service.bundles.opening import opened
from service.bundles.study import Said, study_of
from service.bundles.verifying import verify
from service.bundles.writing import bundle
from service.grid.expansion import expand
from service.grid.fitting import Limits
from service.grid.remeasurement import read_remeasuring
from service.store import claims, submissions
from service.store.remeasurements import measure_again

SAID = Said("Measured again", ("Ada Lovelace",), "CC-BY-4.0", with_weights=True, with_figures=False)
ALL_LAYERS = {"id": "all", "metric": "alignment", "layer": "all", "every_trial": ">= 0", "gate": "none"}
LATER = {"id": "later", "metric": "pearson", "every_trial": ">= -1", "gate": "none"}


def test_what_was_measured_again_is_in_the_tables_and_held_to_nobody(store, tiny_grid, tmp_path):
    grid = tiny_grid(claims=[ALL_LAYERS], seeds=2)
    # more steps than measured points, at other steps
    grid["trial"]["measure"] = {"points": 2, "metrics": ["alignment"], "weights": [3, 5, 7, 9, 11, 13, 20]}
    one = submissions.create_experiment(store, expand(grid), document=grid, owner="ada").id
    train_everything(store)
    asked = {"metrics": ["alignment", "pearson", "agop_singular_value@1"], "layers": "all"}
    measure_again(store, one, read_remeasuring(asked).asked())
    measure_everything(store)
    claims.add_claims(store, one, [LATER])
    file = tmp_path / "study.zip"
    file.write_bytes(b"".join(bundle(store, study_of(store, [one], SAID))))
    with opened(file) as opened_bundle:
        checks = list(verify(opened_bundle, Limits(), reruns=2))
        assert [check.what for check in checks if not check.holds] == [], checks
        told = opened_bundle.document(f"{one}/verdicts.json")
    assert [verdict["id"] for verdict in told] == ["all"], "the grid does not measure what the other is about"
