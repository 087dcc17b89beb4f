"""Where the AGOP of a fully connected network with an activation is summed over samples: what takes fewest operations.

G_l = W_l^T P_l W_l, with P_l the average of (df/dz_l)^T (df/dz_l): summed at the layer's inputs, Jacobians go down by
one product for each sample and output; summed at its units, W_l is multiplied with once. Behind the last hidden layer's
units all samples have the same matrix: P_{L-1} = (W_L^T W_L) o mean_i phi'(z_i) phi'(z_i)^T needs no Jacobian at all.
Torch-free: the tensor library, compiled code and the model of costs go the same way. It follows from the network and
the number of its samples, never from the stack or from what else is asked for.
"""

from collections.abc import Sequence

INPUTS, UNITS = "inputs", "units"
_FACTORISED = 10
"""Multiply-adds over d^3 of the eigenvectors of a matrix of width d, about."""
_UNCOMPILED = 2
"""Times that a product of the tensor library takes of a compiled one."""
_CLEARLY = 0.8
"""Share of what the inputs take from which the units are worth that more of their networks are ill-conditioned."""
_TALL = 4
"""Rows for each column from which F^T F is summed rather than F folded."""


def is_tall(rows: int, width: int, rank: int | None) -> bool:
    """Whether F^T F of a factor F is looked at first: it costs less, and no eigenvalue is known to be zero."""
    return rows >= _TALL * width and not (rank is not None and rank < width)


def way(widths: Sequence[int], layer: int, samples: int, *, halves: bool = False, single: bool = False) -> str:
    """INPUTS or UNITS, for a layer below the last.

    Args:
        widths: (d_0, .., d_L).
        layer: from 1.
        samples: N.
        halves: whether half of the units pass nothing and are not multiplied with.
        single: whether passes are in float32: sums over samples, in float64, then take twice as long.
    """
    found = operations(widths, layer, samples, halves=halves, single=single)
    return UNITS if found[UNITS] < _CLEARLY * found[INPUTS] else INPUTS


def operations(
    widths: Sequence[int], layer: int, samples: int, *, halves: bool = False, single: bool = False
) -> dict[str, float]:
    """Multiply-adds of both ways, in numbers of the passes' dtype; arguments as above.

    Jacobians at the inputs are counted where no other layer may ask for them.
    """
    inputs, units, outputs = widths[layer - 1], widths[layer], widths[-1]
    rows, double = samples * outputs, 2 if single else 1
    passed = rows * units * inputs / (2 if halves else 1) if layer == 1 else 0.0
    if is_tall(rows, inputs, min(inputs, units)):
        at_inputs = double * (rows * inputs * (inputs + 1) / 2 + _FACTORISED * inputs**3)
    else:
        # folded by QR, then singular vectors of the triangle
        at_inputs = double * (2 * rows * inputs**2 + 2 * _FACTORISED * inputs * min(rows, inputs) ** 2)
    summed = (samples if layer == len(widths) - 2 else rows) * units * (units + 1) / 2
    narrow = min(inputs, units)
    decomposed = 2 * _FACTORISED * max(inputs, units) * narrow**2 if units < inputs else _FACTORISED * inputs**3
    at_units = double * (summed + _UNCOMPILED * units * inputs * (units + inputs) + decomposed)
    return {INPUTS: passed + at_inputs, UNITS: at_units}
