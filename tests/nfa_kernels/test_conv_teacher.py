"""The convolutional teacher: its formula position by position, and the subspace that its patch gradients span."""

import itertools
import sys

import pytest
import torch

from nfa_kernels import names
from nfa_kernels.data import make_data
from nfa_kernels.data.conv_teacher import POOLINGS, teacher
from nfa_kernels.data.index_models import LINKS


@pytest.mark.parametrize("pooling", names.POOLINGS)
def test_targets_are_the_formula_position_by_position(pooling):
    sizes = {"channels": 2, "size": 5, "patch": 3, "filters": 4, "outputs": 3}
    found = make_data("conv_teacher", 1, samples=6, noise=0.0, test_samples=2, link="tanh", pooling=pooling, **sizes)
    bank, mixing = teacher(1, 2, 3, 4, 3)
    assert found.x.shape == (6, 2, 5, 5) and found.x_test.shape == (2, 2, 5, 5)
    torch.testing.assert_close(bank.mT @ bank, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-13)
    for image, target in zip(torch.cat([found.x, found.x_test]), torch.cat([found.y, found.y_test]), strict=True):
        places = itertools.product(range(3), range(3))
        patches = [image[:, row : row + 3, column : column + 3].reshape(-1) for row, column in places]
        values = torch.stack([torch.tanh(bank.mT @ patch) for patch in patches], 1)
        pooled = {"sum": values.sum(1) / 3, "mean": values.mean(1), "max": values.max(1).values}[pooling]
        torch.testing.assert_close(target, mixing @ pooled, rtol=1e-12, atol=1e-13)


def test_the_patch_gradients_of_the_target_span_the_filters():
    found = make_data("conv_teacher", 0, samples=40, noise=0.0, filters=3, size=6)
    bank, mixing = teacher(0, 1, 3, 3, 4)

    def of_patches(patches):
        return mixing @ POOLINGS["sum"](LINKS["hermite2"](bank.mT @ patches))

    patches = torch.nn.functional.unfold(found.x, 3)
    jacobians = torch.vmap(torch.func.jacrev(of_patches))(patches)  # (N, C, c k k, P)
    agop = torch.einsum("ncap,ncbp->ab", jacobians, jacobians) / 40
    values, vectors = torch.linalg.eigh(agop)
    assert values[-3] > 1e3 * values[-4].abs()
    torch.testing.assert_close(vectors[:, -3:] @ vectors[:, -3:].mT, bank @ bank.mT, rtol=0, atol=1e-10)


def test_a_mean_is_a_sum_over_the_root_of_the_positions():
    total, mean = (make_data("conv_teacher", 3, noise=0.0, pooling=pooling).y for pooling in ("sum", "mean"))
    torch.testing.assert_close(total, 6 * mean, rtol=1e-12, atol=1e-13)


def test_targets_do_not_depend_on_how_many_images_are_unfolded_at_once(monkeypatch):
    whole = make_data("conv_teacher", 2, samples=30).y
    # by its module's name: the package has a function of that name
    monkeypatch.setattr(sys.modules["nfa_kernels.data.conv_teacher"], "_BLOCK_NUMBERS", 1000)
    torch.testing.assert_close(make_data("conv_teacher", 2, samples=30).y, whole, rtol=1e-13, atol=1e-13)
