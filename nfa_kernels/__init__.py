"""The mathematics of the Neural Feature Ansatz for stacks of networks; depends on torch alone.

Dimension letters, the same in every docstring and einsum string:

    K networks of one stack      L layers of a network (depth)
    N samples                    D inputs of a layer
    H outputs (units) of a layer C outputs of the network
    R rank kept in a spectrum

`W_l` has shape (H, D) = (d_l, d_{l-1}), l = 1..L; a stack of it is (K, H, D). `X` is (K, N, d_0), `Y` is
(K, N, C). Layer numbers are 1-based everywhere a user sees them.

This file imports nothing, so that `nfa_kernels.names` and `nfa_kernels.cost` load without torch.
"""
