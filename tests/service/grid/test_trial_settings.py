"""Settings of a trial: defaults, types, names from the registries."""

import pytest
from pydantic import ValidationError

from nfa_kernels import names
from service.grid.canonical import canonical
from service.grid.setting_types import spaced
from service.grid.trial_settings import TrainingSettings, TrialSettings


def test_the_defaults_are_those_that_are_documented() -> None:
    trial = TrialSettings()
    assert (trial.data.kind, trial.data.samples, trial.data.inputs, trial.data.outputs) == (
        "linear_teacher",
        200,
        10,
        4,
    )
    assert (trial.data.spectrum, trial.data.noise, trial.data.test_samples) == ([3, 2, 1.5, 1], 0.1, 0)
    assert (trial.network.depth, trial.network.width, trial.network.activation) == (3, 16, "linear")
    assert (trial.init.scheme, trial.init.scale) == ("he", 1.0)
    assert (trial.training.optimizer, trial.training.learning_rate, trial.training.weight_decay) == ("gd", 0.02, 0.0)
    assert (trial.training.steps, trial.training.batch_size, trial.training.loss) == (6000, None, "half")
    assert (trial.training.dtype, canonical(trial)["measure"]["layers"]) == ("float64", [1])


@pytest.mark.parametrize("optimizer", names.OPTIMIZERS)
def test_every_optimizer_says_whether_it_takes_minibatches(optimizer: str) -> None:
    rule = names.OPTIMIZERS[optimizer].minibatches
    if rule != "required":
        assert TrainingSettings(optimizer=optimizer).batch_size is None
    if rule != "never":
        assert TrainingSettings(optimizer=optimizer, batch_size=5).batch_size == 5
    if rule != "optional":
        with pytest.raises(ValidationError, match="batch_size"):
            TrainingSettings(optimizer=optimizer, batch_size=None if rule == "required" else 5)


def test_ranges_have_exact_ends_and_round_digits() -> None:
    assert spaced({"log": [0.001, 1, 4]}) == [0.001, 0.01, 0.1, 1.0]
    assert spaced({"linear": [0, 0.3, 4]}) == [0.0, 0.1, 0.2, 0.3]
    assert spaced({"log": [1, 2, 1]}) == [1.0]
    assert spaced([1, 2]) == [1, 2]
    assert spaced({"optimizer": "gd"}) == {"optimizer": "gd"}


@pytest.mark.parametrize(
    "span",
    [{"log": [0, 1, 3]}, {"log": [1, 2]}, {"log": 5}, {"linear": [1, 2, 0]}, {"linear": [1, 2, 2.5]},
     {"linear": [1, float("inf"), 3]}, {"linear": [1, 2, 10**7]}, {"log": [True, 2, 3]}],
)  # fmt: skip
def test_wrong_ranges_are_refused(span: dict) -> None:
    with pytest.raises(ValueError, match=r"log|linear"):
        spaced(span)


def test_measured_metrics_keep_the_registrys_order_and_the_losses() -> None:
    measure = TrialSettings.model_validate({"measure": {"metrics": ["scale", "alignment"]}}).measure
    assert measure.measured_metrics == ["train_loss", "relative_loss", "alignment", "scale"]


def test_members_of_metric_families_are_measured_by_name() -> None:
    written = ["agop_singular_value@10", "agop_singular_value@2", "alignment@0.7", "alignment@2.5e-1"]
    measure = TrialSettings.model_validate({"measure": {"metrics": written, "exponents": [0.7, 2]}}).measure
    assert measure.measured_metrics == [
        "train_loss", "relative_loss", "agop_singular_value@2", "agop_singular_value@10",
    ]  # fmt: skip
    assert measure.measured_exponents == [0.25, 0.7, 2.0]
    for wrong in ("agop_singular_value@0", "agop_singular_value@1.5", "alignment@0", "alignment@-1", "alignment@1e999"):
        with pytest.raises(ValidationError, match="must be one of"):
            TrialSettings.model_validate({"measure": {"metrics": [wrong]}})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        TrialSettings().training.steps = 5  # ty: ignore[invalid-assignment]
