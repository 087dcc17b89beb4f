"""Constants c_l by which layers are multiplied: f(x) = c_L W_L phi(c_{L-1} W_{L-1} .. phi(c_1 W_1 x)).

standard: c_l = 1. ntk: c_l = 1/sqrt(d_{l-1}) (Jacot et al. 2018, arXiv:1806.07572). mean_field: the same, but
c_L = 1/d_{L-1} at the output (Mei et al. 2018, arXiv:1804.06561; Yang and Hu 2021, arXiv:2011.14522). Biases are not
multiplied. With N(0, 1) weights the two keep pre-activations of order one at any width.
"""

from collections.abc import Sequence

from nfa_kernels import names


def multipliers(parameterization: str, widths: Sequence[int]) -> tuple[float, ...]:
    """(c_1, .., c_L) for widths (d_0, .., d_L).

    Raises:
        ValueError: unknown name.
    """
    if parameterization not in names.PARAMETERIZATIONS:
        allowed = ", ".join(names.PARAMETERIZATIONS)
        raise ValueError(f"parameterization: received {parameterization!r}, allowed are {allowed}")
    if parameterization == "standard":
        return (1.0,) * (len(widths) - 1)
    found = [width**-0.5 for width in widths[:-1]]
    if parameterization == "mean_field":
        found[-1] = 1 / widths[-2]
    return tuple(found)
