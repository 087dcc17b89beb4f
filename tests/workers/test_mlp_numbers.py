"""Fully connected networks have the numbers that they had before other networks were known."""

import json
from pathlib import Path

import numpy as np
import pytest

from nfa_kernels.native.compiling import SWITCH
from tests.workers.mlp_numbers import CASES, machine, numbers_of

OF_A_SEARCH = ("layers best_exponent", "layers best_alignment")
"""Known to rounding: an iteration stops where it finds no better."""
KNOWN = json.loads(Path(__file__).with_name("mlp_numbers.json").read_text())


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("native", ["0", "1"])
def test_every_number_is_as_it_was(name: str, native: str, monkeypatch: pytest.MonkeyPatch):
    """To the last bit where machine and tensor library are those of the file, and no steps are compiled."""
    monkeypatch.setenv(SWITCH, native)
    found, known = numbers_of(CASES[name]), KNOWN["numbers"][name]
    assert found.keys() == known.keys()
    if machine() == KNOWN["machine"] and native == "0":
        assert {key: found[key] for key in found if key not in OF_A_SEARCH} == {
            key: known[key] for key in known if key not in OF_A_SEARCH
        }
    tolerance = 1e-4 if "float32" in name else 1e-9
    for key, values in known.items():
        of_known, of_found = ([float.fromhex(value) for value in some] for some in (values, found[key]))
        np.testing.assert_allclose(of_found, of_known, rtol=tolerance, atol=tolerance, err_msg=key)
        if key in OF_A_SEARCH and "float32" not in name:
            np.testing.assert_allclose(of_found, of_known, rtol=1e-11, atol=0, err_msg=key)
