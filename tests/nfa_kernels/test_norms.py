"""Norms of networks from tiny to huge, whose bits do not depend on the other networks of their stack."""

import pytest
import torch

from nfa_kernels.norms import norm


@pytest.mark.parametrize("beside", [1e-150, 1e150, 0.0, torch.nan])
@pytest.mark.parametrize("size", [1.0, 1e-70, 1e-95, 1e70, 1e-150, 1e150])
def test_a_norm_has_the_same_bits_beside_networks_of_every_size(size: float, beside: float):
    drawn = torch.Generator().manual_seed(0)
    one = [torch.randn(1, *shape, generator=drawn, dtype=torch.float64) for shape in ((5, 4), (3, 5))]
    own = [array * size for array in one]
    alone = norm(own)
    assert torch.equal(alone, norm([torch.cat([array, array * 0 + beside]) for array in own])[:1])
    expected = torch.cat([array.flatten() for array in one]).norm() * size
    torch.testing.assert_close(alone[0], expected, rtol=1e-13, atol=0)
