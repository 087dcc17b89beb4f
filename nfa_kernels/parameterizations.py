"""How layers are scaled with their widths: f(x) = c_L W_L phi(c_{L-1} W_{L-1} .. phi(c_1 W_1 x)).

standard: c_l = 1. ntk: c_l = 1/sqrt(d_{l-1}) (Jacot et al. 2018, arXiv:1806.07572). mean_field: the same, but
c_L = 1/d_{L-1} at the output (Mei et al. 2018, arXiv:1804.06561; Yang and Hu 2021, arXiv:2011.14522). Biases are not
multiplied. With N(0, 1) weights the two keep pre-activations of order one at any width.

mup: the maximal update parameterisation of Yang and Hu, in which at every width one step changes the features and the
outputs by order one. A parameter has a role, by which of its two widths grow with the network:

    role          widths that grow   init            c               rate: gradient   sign            orthogonal
    input         fan_out            1/sqrt(fan_out) sqrt(fan_out)   1                1/sqrt(fan_out) 1/sqrt(fan_out)
    hidden        both               1               1               1                1/fan_in        1
    output        fan_in             1               1/sqrt(fan_in)  1                1/sqrt(fan_in)  1
    table         fan_out            1               sqrt(fan_out)   1                1/sqrt(fan_out) 1
    bias          fan_out            1               1               fan_out          1               1
    output_bias   none               1               1               1                1               1
    direct        none               1               1               1                1               1

A table is one of embeddings or learned positions: fan_out is the length of its rows, and what is drawn for it has a
variance ~ 1/fan_out. Gains of normalisations are scaled as biases are. Attention divides its scores by d_head, not by
sqrt(d_head) (arXiv:2203.03466, definition 4.1). Elsewhere c = 1 for tables, as a row of N(0, 1) is of order one.

`init` multiplies what a scheme of variance ~ 1/fan_in draws; `rate` multiplies the learning rate of rules whose step
follows the gradient's size (gd and its kin, gradient flow), has a size of its own (adam and its kin) or is orthogonal
(muon). This is the form a_1 = -1/2, a_L = 1/2, b = 1/2, c = 0 of arXiv:2011.14522; the column for Adam follows from it
as in Yang et al. 2022, arXiv:2203.03466, table 8, that for muon from the spectral condition of arXiv:2310.17813. With
rules of the first column all weights have one rate, so that gradient descent conserves what it always does.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from nfa_kernels import names

Role = Literal["input", "hidden", "output", "table", "bias", "output_bias", "direct"]
"""Of a parameter; `direct` is a weight from the inputs to the outputs, which no width of the network touches."""
ROLES: tuple[Role, ...] = ("input", "hidden", "output", "table", "bias", "output_bias", "direct")


class Scaling(NamedTuple):
    """What a parameter's initial draw, its effect and its learning rate are multiplied by."""

    init: float = 1.0
    multiplier: float = 1.0
    rate: float = 1.0


def scaling(parameterization: str, role: Role, fan_in: int, fan_out: int, steps: str = "gradient") -> Scaling:
    """How a parameter of a role and these widths is scaled.

    Args:
        parameterization: standard, ntk, mean_field or mup.
        role: of the parameter; biases have fan_in 1.
        fan_in: numbers that an output of this map is a sum over.
        fan_out: its outputs; the length of a table's rows.
        steps: what the size of the optimiser's step follows: see `names.OptimizerName.steps`.
    Raises:
        ValueError: unknown name.
    """
    if parameterization not in names.PARAMETERIZATIONS:
        allowed = ", ".join(names.PARAMETERIZATIONS)
        raise ValueError(f"parameterization: received {parameterization!r}, allowed are {allowed}")
    is_vector = "bias" in role or role == "table"
    if parameterization == "standard" or (is_vector and parameterization != "mup"):
        return Scaling()
    if parameterization == "mup":
        return _mup(role, fan_in, fan_out, steps)
    is_last = role in ("output", "direct") and parameterization == "mean_field"
    return Scaling(multiplier=1 / fan_in if is_last else fan_in**-0.5)


def _mup(role: Role, fan_in: int, fan_out: int, steps: str) -> Scaling:
    """The table above."""
    match role:
        case "input":
            return Scaling(fan_out**-0.5, fan_out**0.5, 1.0 if steps == "gradient" else fan_out**-0.5)
        case "hidden":
            return Scaling(rate=1 / fan_in if steps == "sign" else 1.0)
        case "output":
            return Scaling(multiplier=fan_in**-0.5, rate=fan_in**-0.5 if steps == "sign" else 1.0)
        case "table":
            return Scaling(multiplier=fan_out**0.5, rate=fan_out**-0.5 if steps == "sign" else 1.0)
        case "bias":
            return Scaling(rate=float(fan_out) if steps == "gradient" else 1.0)
    return Scaling()


def roles(depth: int, *, bias: bool = False) -> tuple[Role, ...]:
    """Of W_1 .. W_L of a fully connected network, and with biases of b_1 .. b_L behind them."""
    weights: tuple[Role, ...] = ("direct",) if depth == 1 else ("input", *("hidden",) * (depth - 2), "output")
    return (*weights, *("bias",) * (depth - 1), "output_bias") if bias else weights


def layer_scalings(
    parameterization: str, widths: Sequence[int], *, bias: bool = False, steps: str = "gradient"
) -> tuple[Scaling, ...]:
    """Of every parameter of a fully connected network of widths (d_0, .., d_L): W_1 .. W_L, then b_1 .. b_L."""
    depth = len(widths) - 1
    fans = [(widths[layer], widths[layer + 1]) for layer in range(depth)]
    fans += [(1, width) for width in widths[1:]] if bias else []
    known = zip(roles(depth, bias=bias), fans, strict=True)
    return tuple(scaling(parameterization, role, *fan, steps) for role, fan in known)


def attention_power(parameterization: str) -> float:
    """p: scores of queries and keys are divided by d_head^p."""
    return 1.0 if parameterization == "mup" else 0.5


def multipliers(parameterization: str, widths: Sequence[int]) -> tuple[float, ...]:
    """(c_1, .., c_L) for widths (d_0, .., d_L).

    Raises:
        ValueError: unknown name.
    """
    return tuple(one.multiplier for one in layer_scalings(parameterization, widths))


def initial_factors(parameterization: str, scheme: str, widths: Sequence[int]) -> tuple[float, ...]:
    """What the weights W_1 .. W_L that a scheme draws are multiplied by.

    Schemes whose variance is not ~ 1/fan_in have, at a first layer, about the size that mup gives them (xavier,
    orthogonal, balanced), or are the user's own: their draws stay as they are.
    """
    if scheme not in names.FAN_IN_SCHEMES:
        return (1.0,) * (len(widths) - 1)
    return tuple(one.init for one in layer_scalings(parameterization, widths))
