"""Initial weights of one trial: scheme name -> function(widths, seed, **settings) -> [W_1, .., W_L].

`widths` is (d_0, .., d_L); each W_l is (d_l, d_{l-1}), float64, on the CPU; layer l draws from the stream `init/l`.
Every function multiplies its weights by `scale`.
"""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor

from nfa_kernels.initialisations.balanced import balanced
from nfa_kernels.initialisations.gaussian import he, lecun, standard_normal, xavier
from nfa_kernels.initialisations.given import given, given_biases
from nfa_kernels.initialisations.layer_scales import layer_scales
from nfa_kernels.initialisations.neuron_balanced import neuron_balanced
from nfa_kernels.initialisations.orthogonal import orthogonal
from nfa_kernels.initialisations.uniform import uniform, xavier_uniform

Initialisation = Callable[..., list[Tensor]]

INITIALISATIONS: dict[str, Initialisation] = {
    "he": he,
    "xavier": xavier,
    "xavier_uniform": xavier_uniform,
    "lecun": lecun,
    "normal": standard_normal,
    "orthogonal": orthogonal,
    "uniform": uniform,
    "layer_scales": layer_scales,
    "neuron_balanced": neuron_balanced,
    "balanced": balanced,
    "given": given,
}


def initial_weights(scheme: str, widths: Sequence[int], seed: int, **settings: object) -> list[Tensor]:
    """Initial weights of one trial by the scheme's name.

    Raises:
        ValueError: unknown scheme, or widths that are not at least two positive numbers.
    """
    if scheme not in INITIALISATIONS:
        raise ValueError(f"scheme: received {scheme!r}, allowed are {', '.join(INITIALISATIONS)}")
    if len(widths) < 2 or min(widths) < 1:
        raise ValueError(f"widths: received {list(widths)}, allowed are at least two positive numbers d_0 .. d_L")
    return INITIALISATIONS[scheme](widths, seed, **settings)


def initial_biases(widths: Sequence[int], arrays: Mapping[str, object]) -> list[Tensor]:
    """Initial biases b_1 .. b_L of one trial, each (d_l, 1): zero, or as given among `arrays`."""
    return given_biases(widths, arrays)
