"""What a trainer says of its GPU, of cards that are not here."""

import pytest

from workers.gpu import Card, described, float64_ratio, refusal, slowness, usable_bytes

GIB = 2**30
H100 = Card("NVIDIA H100 80GB HBM3", (9, 0), 80 * GIB, 79 * GIB)
RTX_4090 = Card("NVIDIA GeForce RTX 4090", (8, 9), 24 * GIB, 20 * GIB)


def test_a_gpu_that_torch_finds_is_trained_on():
    assert refusal(True, "12.8") is None


@pytest.mark.parametrize(("built_for", "told"), [(None, "its CPU build"), ("12.8", "built for CUDA 12.8, finds none")])
def test_a_gpu_without_cuda_is_refused_with_what_is_wrong_and_what_to_do(built_for, told):
    said = refusal(False, built_for) or ""
    assert told in said and "--num-gpus=0" in said


@pytest.mark.parametrize(
    ("capability", "ratio"),
    [((7, 0), 2), ((8, 0), 2), ((9, 0), 2), ((6, 1), 32), ((7, 5), 32), ((8, 6), 64), ((8, 9), 64), ((12, 0), 64)],
)
def test_a_card_is_warned_of_where_float64_is_slow_there(capability, ratio):
    assert float64_ratio(capability) == ratio
    told = slowness(H100._replace(capability=capability))
    assert (told is not None) == (ratio > 2)
    assert told is None or f"1/{ratio} of the rate of float32" in told


def test_nothing_is_said_of_a_card_that_is_not_known():
    assert float64_ratio((99, 0)) is None and slowness(H100._replace(capability=(99, 0))) is None


@pytest.mark.parametrize(("share", "usable"), [(1.0, 20 * GIB), (0.5, 12 * GIB), (0.25, 6 * GIB)])
def test_a_trainer_has_its_share_of_a_card_and_no_more_than_is_free(share, usable):
    assert usable_bytes(RTX_4090, share) == usable


def test_what_is_told_of_a_card_goes_with_provenance():
    assert described(H100, 1.0) == {"device": H100.name, "memory_bytes": 79 * GIB}
    assert described(RTX_4090, 0.5) == {
        "device": RTX_4090.name,
        "memory_bytes": 12 * GIB,
        "warning": "NVIDIA GeForce RTX 4090 computes float64 at 1/64 of the rate of float32: give trials "
        "training.dtype and measure.dtype float32, or device: cpu",
    }
