"""The ansatz as others have measured it: on the change of the weights, centred by mean entry, or before the layer.

dW = W - W_0 is the change since initialisation; all of these are NaN where it vanishes. `rho` is the cosine after
subtracting each matrix's mean entry. Each departs from its source in one respect: the AGOP comes from a thin factor.
"""

import torch
from torch import Tensor

from nfa_kernels.scaling import unit_scaled
from nfa_kernels.similarity import cosine, pearson
from nfa_kernels.spectra import Spectrum


def nfa_dnfa(change: Tensor, agop: Spectrum) -> Tensor:
    """cos(dW^T dW, G), (K,), of dW (K, H, D). Source: github.com/aradha/deep_neural_feature_ansatz."""
    return cosine(gram(unit_scaled(change)[0]), agop.relative_matrix(1.0))


def nfa_agopfl(change: Tensor, agop: Spectrum) -> Tensor:
    """rho(dW^T dW, G^(1/2)), (K,). Source: github.com/aradha/agop_feature_learning, multilayer perceptrons."""
    return pearson(gram(unit_scaled(change)[0]), agop.relative_matrix(0.5))


def uc_nfa(weight: Tensor, factor: Tensor) -> Tensor:
    """rho(W^T W, W^T K W), (K,): the uncentred correlation of Beaglehole et al. 2024, arXiv:2402.05271.

    Args:
        weight: (K, H, D).
        factor: (K, R, H) with factor^T factor proportional to K, the outer products of df/dz summed, z = W h.
    """
    weight, factor = unit_scaled(weight)[0], unit_scaled(factor)[0]
    return pearson(gram(weight), gram(torch.bmm(factor, weight)))


def c_nfa(change: Tensor, factor: Tensor) -> Tensor:
    """rho(dW^T dW, dW^T K dW), (K,): `uc_nfa` on the change of the weights. Source: arXiv:2402.05271."""
    return uc_nfa(change, factor)


def gram(matrix: Tensor) -> Tensor:
    """A^T A, (K, D, D)."""
    return torch.bmm(matrix.mT, matrix)
