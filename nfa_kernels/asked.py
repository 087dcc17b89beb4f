"""What a view of a stack is made for."""

from typing import NamedTuple

from torch import Tensor

from nfa_kernels.measured_data import MeasuredData
from nfa_kernels.networks import Params


class Needs(NamedTuple):
    """What the asked metrics read beyond weights and outputs, so that one pass over the samples finds it all."""

    gradients: bool
    agop: bool
    preactivations: bool


class Asked(NamedTuple):
    """What a view of any kind of network is made for."""

    data: MeasuredData
    loss: str
    """Name of the training loss."""
    layers: tuple[int, ...]
    initial: Params | None
    """Parameters at step 0."""
    weight_decay: Tensor | None
    """(K,), or (K, L) of each layer."""
    needs: Needs
