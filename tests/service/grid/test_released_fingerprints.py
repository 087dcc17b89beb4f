"""The settings of trials keep the form that 0.1.0 hashed; versions of kernels and streams are new beside it."""

import hashlib
import json
from typing import Any

import pytest

from service.grid.canonical import canonical
from service.grid.trial_settings import TrialSettings

DIGITS = {"kind": "digits", "samples": 500, "test_samples": 100}
NET = {"depth": 2, "width": 32, "activation": "relu", "bias": True}
BATCHES = {"loss": "cross_entropy", "optimizer": "sgd", "batch_size": 20, "weight_decay": 0.01}
STOPPED = {"schedule": "warmup", "optimizer": "lion", "dtype": "float32", "stop": {"loss_below": 0.1}}
MEASURED = {"every": 10, "layers": "all", "metrics": "default", "exponents": [0.5]}

RELEASED: list[tuple[dict[str, Any], str]] = [
    ({}, "3bbdb2c397c15f09"),
    ({"data": DIGITS, "network": NET, "training": BATCHES}, "12098c56ddcf2866"),
    ({"data": {"kind": "uploaded", "dataset_id": "00000000"}}, "b72bcc3f7f5aa710"),
    ({"data": {"kind": "clusters"}, "init": {"scheme": "neuron_balanced"}}, "4c4b27978139e69d"),
    (
        {"data": {"kind": "sparse_parity", "test_samples": 50}, "training": {"loss": "logistic", "optimizer": "adam"}},
        "dca8d0d8532cbcd6",
    ),
    ({"data": {"kind": "single_index", "seed": 3}, "network": {"activation": "leaky_relu"}}, "7a01bc1f94a04b5c"),
    (
        {"data": {"kind": "multi_index", "link": "relu"}, "training": {"optimizer": "gradient_flow", "horizon": 5}},
        "5eee91087b241f04",
    ),
    (
        {"training": {"schedule": "step", "steps": 300}, "network": {"parameterization": "ntk", "width": [8, 4]}},
        "88712175033561f4",
    ),
    ({"training": STOPPED, "measure": MEASURED}, "3d19ca46c163fc8e"),
]
"""Settings, and the beginning of the fingerprint at seed 7 as release 0.1.0 computed it."""


@pytest.mark.parametrize(("block", "begins"), RELEASED, ids=[begins for _, begins in RELEASED])
def test_a_trials_settings_keep_the_form_of_the_first_release(block: dict[str, Any], begins: str) -> None:
    document = {"kernels": "1", "seed": 7, "settings": canonical(TrialSettings.model_validate(block))}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    assert hashlib.sha256(text.encode()).hexdigest().startswith(begins)
