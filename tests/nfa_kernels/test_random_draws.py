"""Streams, initialisations, data and batches: what they draw, and what never changes a draw."""

import hashlib
import math

import numpy as np
import pytest
import torch

from nfa_kernels import names
from nfa_kernels.batches import Batches
from nfa_kernels.data import make_data
from nfa_kernels.initialisations import INITIALISATIONS, initial_weights
from nfa_kernels.random_streams import haar_columns, normal, stream

RANDOM = sorted(set(INITIALISATIONS) - {"given"})


def test_streams_differ_by_purpose_and_seed_and_repeat():
    drawn = {(p, s): normal((4,), stream(p, s)) for p in ("data", "init/1", "init/2") for s in (0, 1)}
    assert len({tuple(values.tolist()) for values in drawn.values()}) == 6
    assert torch.equal(drawn["data", 1], normal((4,), stream("data", 1)))


def test_streams_carry_every_bit_of_a_seed():
    seeds = [5, 5 + 2**32, 5 + 2**62, 111999, 123227, 2**63 - 1]
    drawn = {tuple(normal((4,), stream("data", seed)).tolist()) for seed in seeds}
    assert len(drawn) == len(seeds)
    orders = [torch.randperm(50, generator=stream("batches", seed)).tolist() for seed in (1226, 6624)]
    assert orders[0] != orders[1]


def test_a_stream_is_the_mersenne_twister_whose_state_shake_256_gives():
    words = np.frombuffer(hashlib.shake_256(b"nfa/2/noise/9007199254740993").digest(4 * 624), "<u4")
    twister = np.random.RandomState()
    twister.set_state(("MT19937", words, 624, 0, 0.0))
    found = torch.empty(2000, dtype=torch.int32).random_(generator=stream("noise", 9007199254740993))
    assert found.tolist() == (twister.randint(0, 2**32, 2000, dtype=np.uint64) % 2**31).tolist()


def test_haar_columns_are_orthonormal_and_have_no_preferred_sign():
    frames = torch.stack([haar_columns(6, 3, stream("init/1", seed)) for seed in range(2000)])
    torch.testing.assert_close(frames.mT @ frames, torch.eye(3).double().expand(2000, 3, 3), rtol=0, atol=1e-13)
    # entries have mean 0 and variance 1/6: five standard errors of the sampled mean
    assert frames.mean(0).abs().max() < 5 * math.sqrt(1 / 6 / 2000)


def test_names_and_registry_agree():
    assert set(INITIALISATIONS) == set(names.INITIALISATIONS)


@pytest.mark.parametrize("scheme", RANDOM)
@pytest.mark.parametrize("widths", [(4, 7, 3), (9, 2, 5, 8), (1, 1, 1), (3, 12, 12, 12, 2)])
def test_every_initialisation_has_the_layers_shapes_and_repeats(scheme, widths):
    layers = initial_weights(scheme, widths, 5)
    assert [tuple(layer.shape) for layer in layers] == list(zip(widths[1:], widths, strict=False))
    assert all(layer.dtype == torch.float64 for layer in layers)
    again = initial_weights(scheme, widths, 5, scale=3.0)
    assert all(torch.allclose(3 * one, other, rtol=1e-15) for one, other in zip(layers, again, strict=True))


@pytest.mark.parametrize(
    ("scheme", "variance"),
    [("he", 2 / 200), ("xavier", 2 / 350), ("lecun", 1 / 200), ("uniform", 1 / 200 / 3)],
)
def test_independent_weights_have_their_schemes_variance(scheme, variance):
    layer = initial_weights(scheme, (200, 150, 4), 0)[0]
    # 30,000 draws: the sampled variance scatters by sqrt(2 / 30000) = 0.8 %, six of these are allowed
    assert layer.var().item() == pytest.approx(variance, rel=0.05)
    assert layer.mean().item() == pytest.approx(0, abs=5 * math.sqrt(variance / 30_000))


def test_changing_one_width_changes_only_the_layers_it_touches():
    one, other = initial_weights("he", (5, 7, 7, 3), 2), initial_weights("he", (5, 7, 9, 3), 2)
    assert torch.equal(one[0], other[0])
    assert one[1].shape != other[1].shape


def test_orthogonal_layers_have_equal_singular_values():
    for layer in initial_weights("orthogonal", (6, 9, 4), 1, scale=2.0):
        torch.testing.assert_close(torch.linalg.svdvals(layer), torch.full((min(layer.shape),), 2.0).double())


def test_balanced_layers_have_the_rank_and_largest_singular_value_asked_for():
    for layer in initial_weights("balanced", (9, 12, 4, 8, 6), 3, scale=0.7):
        singular = torch.linalg.svdvals(layer)
        assert singular[0].item() == pytest.approx(0.7, rel=1e-12)
        assert (singular > 1e-12).sum() == 4


def test_layer_scales_multiply_the_ends_of_xavier_and_need_two_layers():
    plain, scaled = (
        initial_weights("xavier", (4, 5, 5, 2), 0),
        initial_weights("layer_scales", (4, 5, 5, 2), 0, first=2.0, last=0.5),
    )
    for factor, one, other in zip((2, 1, 0.5), plain, scaled, strict=True):
        torch.testing.assert_close(factor * one, other)
    with pytest.raises(ValueError, match="depth >= 2"):
        initial_weights("layer_scales", (4, 2), 0)


def test_given_weights_are_taken_as_they_are_or_refused_by_name():
    arrays = {"w1": torch.ones(5, 4).numpy(), "w2": torch.ones(2, 5).numpy()}
    layers = initial_weights("given", (4, 5, 2), 0, arrays=arrays)
    assert torch.equal(layers[1], torch.ones(2, 5).double())
    with pytest.raises(ValueError, match=r"w2: received shape \(2, 5\), needed is \(3, 5\)"):
        initial_weights("given", (4, 5, 3), 0, arrays=arrays)
    with pytest.raises(ValueError, match="needed is w3"):
        initial_weights("given", (4, 5, 2, 2), 0, arrays=arrays)
    with pytest.raises(ValueError, match="w1: received non-finite"):
        initial_weights("given", (4, 5, 2), 0, arrays=arrays | {"w1": torch.full((5, 4), math.nan).numpy()})


def test_noise_and_test_samples_leave_inputs_and_teacher_as_they_are():
    plain = make_data("linear_teacher", 3, noise=0.0)
    noisy = make_data("linear_teacher", 3, noise=0.5, test_samples=30)
    assert torch.equal(plain.x, noisy.x)
    teacher = torch.linalg.lstsq(plain.x, plain.y).solution.mT
    torch.testing.assert_close(torch.linalg.svdvals(teacher), torch.tensor([3, 2, 1.5, 1]).double(), rtol=1e-12, atol=0)
    assert noisy.x_test.shape == (30, 10)
    # the residual of the noisy targets is the noise: 800 numbers
    assert (noisy.y - plain.y).std().item() == pytest.approx(0.5, rel=0.15)


def test_whitened_inputs_are_white_to_rounding_and_variances_are_honoured():
    white = make_data("linear_teacher", 1, covariance="whitened").x
    torch.testing.assert_close(white.mT @ white / 200, torch.eye(10).double(), rtol=0, atol=1e-13)
    variances = [4.0, *[1.0] * 8, 0.25]
    x = make_data("linear_teacher", 1, covariance=variances, samples=20_000).x
    torch.testing.assert_close(x.var(0), torch.tensor(variances).double(), rtol=0.06, atol=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"samples": 0}, "samples: received 0"),
        ({"spectrum": [1.0] * 5}, "at most min"),
        ({"covariance": [1.0]}, "covariance: received"),
        ({"covariance": "whitened", "samples": 4}, "whitened inputs need"),
    ],
)
def test_data_that_cannot_exist_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make_data("linear_teacher", 0, **settings)


def test_shuffled_batches_use_every_sample_once_per_epoch_also_when_the_size_does_not_divide():
    batches = Batches([0, 1], samples=10, size=4, order="shuffle")
    rows = torch.cat([batches.next() for _ in range(5)], 1)
    for lane in rows:
        assert sorted(lane[:10].tolist()) == sorted(lane[10:].tolist()) == list(range(10))
    assert not torch.equal(rows[0], rows[1])


def test_a_lanes_batches_do_not_depend_on_its_neighbours():
    together, alone = Batches([7, 8], 10, 3, "shuffle"), Batches([8], 10, 3, "shuffle")
    together.next(), alone.next()
    together.select(torch.tensor([1]))
    for _ in range(9):
        assert torch.equal(together.next(), alone.next())


def test_cyclic_batches_walk_through_the_rows():
    batches = Batches([0], samples=5, size=3, order="cyclic")
    assert [batches.next()[0].tolist() for _ in range(3)] == [[0, 1, 2], [3, 4, 0], [1, 2, 3]]
    with pytest.raises(ValueError, match="size: received 6"):
        Batches([0], 5, 6, "cyclic")
