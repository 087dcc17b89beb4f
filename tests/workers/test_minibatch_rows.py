"""Minibatches as steps take them: several at once, and samples with spaces in between."""

import pytest
import torch

from nfa_kernels.batches import Batches
from nfa_kernels.networks import Architecture
from workers import training_data
from workers.training_data import Data


@pytest.mark.parametrize("order", ["shuffle", "cyclic"])
@pytest.mark.parametrize(("samples", "size"), [(20, 7), (20, 20), (64, 3)])
def test_several_steps_have_the_rows_that_each_would_have(order, samples, size):
    one, other = (Batches(range(3), samples, size, order) for _ in range(2))
    for steps in (1, 5, 3):
        wanted = torch.stack([one.next() for _ in range(steps)])
        assert torch.equal(other.several(steps), wanted)
        assert all(torch.equal(part, other.state()[name]) for name, part in one.state().items())


def _data(inputs: int, dtype: torch.dtype) -> Data:
    x, y = torch.randn(2, 3, 40, inputs, generator=torch.Generator().manual_seed(0))
    training = {"loss": "half", "optimizer": "sgd", "batch_size": 16, "batch_order": "shuffle"}
    return Data(Architecture((inputs, 8, 2), "relu"), x, y[..., :2], training, range(3), dtype)


@pytest.mark.parametrize(
    ("inputs", "dtype", "spaced"), [(256, "float32", 16), (128, "float64", 8), (250, "float32", 0)]
)
def test_spaces_between_samples_change_no_bit_of_a_gradient(inputs, dtype, spaced, monkeypatch):
    of = getattr(torch, dtype)
    generator = torch.Generator().manual_seed(1)
    weights = tuple(torch.randn(3, *shape, generator=generator, dtype=of) for shape in ((8, inputs), (2, 8)))
    found, left = _data(inputs, of), torch.tensor([0, 2])
    gradients = found.gradients(weights)
    assert found._x.stride(1) == inputs + spaced
    found.keep(left)
    gradients += found.gradients(tuple(weight[left] for weight in weights))
    assert found._x.stride(1) == inputs + spaced
    monkeypatch.setattr(training_data, "_SAME_PLACE", 1 << 30)
    plain = _data(inputs, of)
    wanted = plain.gradients(weights)
    plain.keep(left)
    wanted += plain.gradients(tuple(weight[left] for weight in weights))
    assert plain._x.stride(1) == inputs
    assert all(torch.equal(*pair) for pair in zip(gradients, wanted, strict=True))
