"""The generic AGOP of a torch module against the structured sweep, and what it refuses."""

import pytest
import torch
from builders import data, stacked
from torch import nn

from nfa_kernels.agop import agop_factors
from nfa_kernels.module_agop import module_agop_factor
from nfa_kernels.networks import Architecture

MODULES = {"linear": nn.Identity, "relu": nn.ReLU, "gelu": nn.GELU, "tanh": nn.Tanh, "silu": nn.SiLU}
WIDTHS = (6, 9, 7, 3)


def _module(weights, activation: str) -> nn.Sequential:
    layers: list[nn.Module] = []
    for weight in weights:
        linear = nn.Linear(weight.shape[2], weight.shape[1], bias=False, dtype=torch.float64)
        linear.weight = nn.Parameter(weight[0].clone())
        layers += [linear, MODULES[activation]()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("block_elements", [1 << 24, 50])
@pytest.mark.parametrize("activation", MODULES)
def test_the_generic_agop_equals_the_structured_one_at_every_layer(activation, block_elements):
    weights, (x, _) = stacked("he", WIDTHS, [0]), data(1, 30, 6, 3)
    module = _module(weights, activation)
    wanted = agop_factors(Architecture(WIDTHS, activation), weights, x, [1, 2, 3])
    for layer in (1, 2, 3):
        found = module_agop_factor(module, x[0], module[2 * layer - 2], block_elements)
        assert found.shape[1] <= max(WIDTHS[layer - 1], 3 * 30)
        torch.testing.assert_close(found[0].T @ found[0], wanted[layer][0].T @ wanted[layer][0], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(module_agop_factor(module, x[0]), module_agop_factor(module, x[0], module[0]))


class Residual(nn.Module):
    """f(x) = W_2 (h + relu(W_1 h)) on images flattened inside: a layer that a skip connection passes by."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = (nn.Linear(4, width, bias=False, dtype=torch.float64) for width in (4, 2))

    def forward(self, x):
        hidden = x.flatten(1)
        return self.second(hidden + torch.relu(self.first(hidden)))


def test_any_module_is_differentiated_at_what_enters_the_layer_alone():
    torch.manual_seed(0)
    module, x = Residual(), torch.randn(5, 2, 2, dtype=torch.float64)
    found = module_agop_factor(module, x, module.first)[0]
    wanted = torch.zeros(4, 4, dtype=torch.float64)
    for sample in x.flatten(1):
        slope = (module.first(sample) > 0).double()
        jacobian = module.second.weight @ (slope[:, None] * module.first.weight)
        wanted += jacobian.T @ jacobian / 5
    torch.testing.assert_close(found.T @ found, wanted.detach(), rtol=1e-12, atol=1e-15)
    through_skip = module_agop_factor(module, x)[0]
    assert through_skip.shape[1] == 4
    assert not torch.allclose(through_skip.T @ through_skip, found.T @ found)


def test_what_cannot_be_differentiated_is_refused():
    module = _module(stacked("he", WIDTHS, [0]), "relu")
    x = torch.ones(3, 6, dtype=torch.float64)
    with pytest.raises(ValueError, match="layer: called 0 times"):
        module_agop_factor(module, x, nn.Linear(2, 2))
    shared = nn.Linear(6, 6, dtype=torch.float64)
    with pytest.raises(ValueError, match="layer: called 2 times"):
        module_agop_factor(nn.Sequential(shared, shared), x, shared)
    with pytest.raises(ValueError, match=r"x: received shape \(0, 6\)"):
        module_agop_factor(module, x[:0])
    with pytest.raises(ValueError, match="x: received numbers that are not finite"):
        module_agop_factor(module, x * torch.nan)
