"""What stacks of networks of every kind are given, to train on and to measure."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nfa_kernels.measured_data import MeasuredData
from nfa_kernels.metrics import Request
from nfa_kernels.networks import Params

Arrays = Mapping[str, Any]
"""Arrays of an upload by name; empty where a trial has none."""


class TrainingSet(NamedTuple):
    """What a stack trains on, and how."""

    x: Tensor
    """(K, N, ..) inputs."""
    y: Tensor
    """(K, N, C) targets as the loss reads them."""
    training: Mapping[str, Any]
    """Canonical settings, of any lane."""
    seeds: Sequence[int]
    """Of every lane."""
    dtype: torch.dtype


class MeasuredSet(NamedTuple):
    """What a stack is measured on; arguments of `nfa_kernels.measured_data`."""

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    loss: str
    loss_numbers: Mapping[str, Tensor]
    dtype: torch.dtype
    kernels: bool


class Point(NamedTuple):
    """What a stack is measured with at one step; arguments of `nfa_kernels.metrics.measure`."""

    data: MeasuredData
    request: Request
    loss: str
    initial: Params | None
    """Parameters at step 0, if a metric reads them."""
    weight_decay: Tensor
    """(K, L)."""


def refuse_others(named: Mapping[str, Tensor], needed: Sequence[str]) -> None:
    """Refuse parameters that are not the network's."""
    if set(named) != set(needed):
        raise ValueError(f"weights: received {', '.join(named)}, needed are {', '.join(needed)}")
