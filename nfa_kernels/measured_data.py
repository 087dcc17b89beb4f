"""The data that metrics are measured on, prepared once per stack."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from nfa_kernels.classification import names_classes
from nfa_kernels.cost import kernel_samples
from nfa_kernels.linear import LOSS_FACTORS, compressed
from nfa_kernels.losses import check_targets, loss_of, loss_targets
from nfa_kernels.networks import Architecture, samples_last
from nfa_kernels.shared import is_shared, of_each, repeated, selected


class MeasuredData(NamedTuple):
    """Inputs (K, N', D) and targets (K, N', C); linear networks keep at most D + C equivalent rows.

    Targets are float64, and as the loss reads them; inputs have the dtype of the passes over them.
    """

    x: Tensor
    y: Tensor
    x_test: Tensor
    y_test: Tensor
    zero_loss: Tensor
    """(K,) loss of the zero function."""
    classified_x: Tensor
    classified_y: Tensor
    """The samples themselves, for accuracy; no rows where no network's targets name classes."""
    first_x: Tensor
    first_y: Tensor
    """The first samples themselves, with targets as they were given, in float64, for tangent kernels; no rows where
    none was announced."""
    teacher: Tensor
    """(K, D, R) orthonormal directions that the teacher's targets depend on, of inputs or of patches, for
    teacher_overlap; (K, 0, 0) where there is none. See `nfa_kernels.data.teachers`."""

    def select(self, lanes: Tensor | slice) -> "MeasuredData":
        """The same for some lanes of the stack."""
        if isinstance(lanes, slice) and lanes == slice(None):
            return self
        return MeasuredData(*(selected(part, lanes) for part in self))

    def repeated(self, times: int) -> "MeasuredData":
        """The same for the stack so many times, one after the other."""
        return self if times == 1 else MeasuredData(*(repeated(part, times) for part in self))


def measured_data(
    architecture: Architecture,
    x: Tensor,
    y: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    loss: str,
    *,
    loss_numbers: Mapping[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float64,
    kernels: bool = True,
) -> MeasuredData:
    """Prepare a stack's data for measuring.

    Args:
        architecture: shared by the stack.
        x: (K, N, D) training inputs, N >= 1.
        y: (K, N, C) training targets.
        x_test: (K, T, D); T = 0 without a test set.
        y_test: (K, T, C).
        loss: name of the training loss.
        loss_numbers: (K,) by name, what the loss reads beside the targets.
        dtype: of the passes over the samples. Products of matrices have no such passes and stay float64.
        kernels: whether a metric will be measured that `needs_kernels` names.
    Raises:
        ValueError: a shape that does not fit, no samples, a number that is not finite, an unknown loss, or
            targets that it cannot read.
    """
    inputs, outputs = architecture.widths[:1], architecture.widths[-1]
    checked(inputs, outputs, x, y, "", at_least=1)
    checked(inputs, outputs, x_test, y_test, "_test", at_least=0)
    data = prepared(x, y, x_test, y_test, loss, loss_numbers, kernels=kernels)
    x, y, x_test, y_test, zero_loss, classified_x, classified_y, *first = data
    if architecture.is_product and loss in LOSS_FACTORS:
        x, y = _compressed(x, y)
        if x_test.shape[1]:
            x_test, y_test = _compressed(x_test, y_test)
    elif not architecture.is_product:
        x, y, x_test, y_test = (of_each(samples_last, part) for part in (x, y, x_test, y_test))
        x, x_test, classified_x = (of_each(lambda one: one.to(dtype), part) for part in (x, x_test, classified_x))
    return MeasuredData(x, y, x_test, y_test, zero_loss, classified_x, classified_y, *first)


def prepared(
    x: Tensor,
    y: Tensor,
    x_test: Tensor,
    y_test: Tensor,
    loss: str,
    loss_numbers: Mapping[str, Tensor] | None = None,
    *,
    kernels: bool = True,
) -> MeasuredData:
    """The data of any kind of network: in float64, targets as the loss reads them, and its value at zero outputs.

    Args:
        x: (K, N, ..) training inputs.
        y: (K, N, C) training targets.
        x_test: (K, T, ..); T = 0 without a test set.
        y_test: (K, T, C).
        loss: name of the training loss.
        loss_numbers: (K,) by name, what the loss reads beside the targets.
        kernels: as of `measured_data`.
    Raises:
        ValueError: an unknown loss, or targets that it cannot read.
    """
    check_targets(loss, y)
    check_targets(loss, y_test)
    x, y, x_test, y_test = (of_each(Tensor.double, part) for part in (x, y, x_test, y_test))
    classified = slice(None) if bool(names_classes(y).any()) else slice(0)
    classified_x, classified_y = x[:, classified], y[:, classified]
    # copies: a part of a large set would keep all of it
    kept = kernel_samples(x.shape[1], y.shape[2]) if kernels else 0
    first_x, first_y = x[:, :kept].clone(), y[:, :kept].clone()
    outputs = torch.zeros_like(y)
    y, y_test = (loss_targets(loss, part, loss_numbers) for part in (y, y_test))
    zero_loss = loss_of(loss).value(outputs, y)
    return MeasuredData(
        x, y, x_test, y_test, zero_loss, classified_x, classified_y, first_x, first_y, x.new_zeros(len(x), 0, 0)
    )


def _compressed(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The rows that are as good, found once where all networks share their samples."""
    if not (is_shared(x) and is_shared(y)):
        return compressed(x, y)
    few_x, few_y = compressed(x[:1], y[:1])
    return few_x.expand(len(x), -1, -1), few_y.expand(len(y), -1, -1)


def checked(inputs: tuple[int, ...], outputs: int, x: Tensor, y: Tensor, suffix: str, at_least: int) -> None:
    """Refuse samples (K, N, *inputs) and targets (K, N, outputs) of other shapes, too few, or not finite.

    Raises:
        ValueError: names the array, with the suffix, what it is and what it should be.
    """
    for name, array, shape in ((f"x{suffix}", x, inputs), (f"y{suffix}", y, (outputs,))):
        if array.ndim < 2 or tuple(array.shape[2:]) != shape or array.shape[1] < at_least:
            needed = f"(K, N >= {at_least}, {', '.join(str(length) for length in shape)})"
            raise ValueError(f"{name}: received shape {tuple(array.shape)}, needed is {needed}")
        bad = (~(array[:1] if is_shared(array) else array).isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
        if bad:
            raise ValueError(f"{name}: network {bad[0]} of the stack has a number that is not finite; allowed are none")
    if x.shape[:2] != y.shape[:2]:
        raise ValueError(f"y{suffix}: received shape {tuple(y.shape)}, needed are the K and N of x, {tuple(x.shape)}")
