"""The training data of fully connected networks, and the gradient of the loss on all of it or on a minibatch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import embedding, pad

from nfa_kernels.at_once import is_cached
from nfa_kernels.batches import Batches
from nfa_kernels.cost import Shape, step_flops
from nfa_kernels.linear import LOSS_FACTORS, Moments, factored_gradients, moment_gradients, moments
from nfa_kernels.losses import loss_of
from nfa_kernels.native.call import Samples as CompiledSamples
from nfa_kernels.native.graphs import layers_call
from nfa_kernels.native.networks import steps_of
from nfa_kernels.networks import Architecture, Params, gradients, is_samples_last, is_thin, laid_out, thin_gradients
from nfa_kernels.products import Factored
from workers.checkpoints import Named
from workers.compiled import CompiledSteps, compiled_graph_steps, compiled_steps
from workers.updates import Updates, owners

Training = Mapping[str, Any]


class Data:
    """The training data, and the gradient of the loss on all of it or on a minibatch."""

    def __init__(
        self,
        architecture: Architecture,
        x: Tensor,
        y: Tensor,
        training: Training,
        seeds: Sequence[int],
        dtype: torch.dtype,
    ) -> None:
        self._architecture, self._loss = architecture, loss_of(training["loss"])
        self.parameterization, self.owners = architecture.parameterization, owners(architecture, training["optimizer"])
        # compiled steps and minibatches read each network's own
        self._x, self._y = x.to(dtype).contiguous(), y.to(dtype).contiguous()
        self._moments: Moments | None = None
        self._batches: Batches | None = None
        if "batch_size" in training:
            order = training["batch_order"]
            self._batches = Batches(seeds, x.shape[1], training["batch_size"], order, x.device)
        elif architecture.is_product and training["loss"] in LOSS_FACTORS:
            self._moments = Moments(*(part.to(dtype) for part in moments(x, y, training["loss"])))
        samples = training.get("batch_size") or x.shape[1]
        self._is_thin = not architecture.is_product and is_thin(architecture, samples)
        of = (architecture, training["optimizer"], training["loss"], samples)
        self._of_products, self._of = steps_of(*of), of
        shape = Shape(architecture.widths, samples, architecture.is_product, False, training["optimizer"])
        self._flops = step_flops(shape)
        self._is_laid_out = architecture.is_product
        self._first_rows = first_rows(self._x)

    @property
    def dtype(self) -> torch.dtype:
        """That gradients are computed in."""
        return self._x.dtype

    def compiled(self, updates: Updates, weights: Params) -> CompiledSteps | None:
        """Compiled steps of the stack, where there are such; of products none with weights wider than their passes."""
        if not self._architecture.is_product:
            said = layers_call(*self._of, str(weights[0].dtype).removeprefix("torch."))
            return compiled_graph_steps(said, updates, weights, self._flops, self.dtype)
        if weights[0].dtype != self.dtype:
            return None
        return compiled_steps(self._architecture.widths, self._of_products, updates, weights, self._flops)

    def of_steps(self, steps: int) -> Moments | CompiledSamples:
        """What the next steps take their gradients on."""
        if self._moments is not None:
            return self._moments
        rows = None if self._batches is None else torch.stack([self._batches.next() for _ in range(steps)], 1)
        return CompiledSamples(self._x, self._y, rows)

    def rows_of_steps(self, steps: int) -> Tensor | None:
        """(steps, K, size) rows of the next minibatches; None without minibatches."""
        return None if self._batches is None else self._batches.several(steps)

    def factored(self, params: Params, scale: Tensor, rows: Tensor | None = None) -> list[Factored] | None:
        """Thin factors of `scale` (K, 1, 1) times the gradients, where the network and the loss allow them.

        Args:
            params: of the stack.
            scale: of each network.
            rows: (K, size) of the minibatch, if these have been drawn; else the next are drawn.
        """
        architecture = self._architecture
        if self._moments is not None and architecture.parameterization == "standard":
            return factored_gradients(params, self._moments, scale)
        if self._is_thin:
            return thin_gradients(architecture, params, *self._samples(rows), self._loss, scale)
        return None

    def gradients(self, params: Params, rows: Tensor | None = None) -> Params:
        """Of a minibatch, or of the whole set; arguments as above."""
        architecture = self._architecture
        if self._moments is not None:
            return architecture.pulled_back(moment_gradients(architecture.effective(params), self._moments))
        return gradients(architecture, params, *self._samples(rows), self._loss)

    def _samples(self, rows: Tensor | None) -> tuple[Tensor, Tensor]:
        """A minibatch, or the whole set: x (K, N, D) and y (K, N, C)."""
        if not self._is_laid_out:
            # once; compiled steps read them as they came
            if self._batches is None:
                self._x, self._y = laid_out(self._architecture, self._x), laid_out(self._architecture, self._y)
            elif is_samples_last(self._architecture, self._batches.size):
                self._x = spaced(self._x)
            self._is_laid_out = True
        if self._batches is None:
            return self._x, self._y
        x, y = self._picked(self._batches.next() if rows is None else rows)
        if self._architecture.is_product:
            # two products read them, in any order equally well
            return x, y
        return laid_out(self._architecture, x), laid_out(self._architecture, y)

    def _picked(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The minibatch of these rows (K, size)."""
        rows = rows + self._first_rows
        # whole rows of one table, each copied in one go; an index for each axis copies number by number
        width, step = self._x.shape[2], self._x.stride(1)
        if step == width:
            return embedding(rows, self._x.flatten(0, 1)), embedding(rows, self._y.flatten(0, 1))
        table = self._x.as_strided((self._x.shape[0] * self._x.shape[1], step), (step, 1))
        return embedding(rows, table)[..., :width], embedding(rows, self._y.flatten(0, 1))

    def state(self) -> Named:
        """Where the minibatches are."""
        return {} if self._batches is None else {f"batches.{k}": v for k, v in self._batches.state().items()}

    def restore(self, state: Named) -> None:
        """Go on from there."""
        if self._batches is not None:
            named = {name.removeprefix("batches."): v for name, v in state.items() if name.startswith("batches.")}
            self._batches.restore(named)

    def keep(self, index: Tensor) -> None:
        """Keep the networks at these places."""
        is_spaced = self._x.stride(1) > self._x.shape[2]
        self._x, self._y = self._x[index], self._y[index]
        if is_spaced:
            self._x = spaced(self._x)
        self._first_rows = first_rows(self._x)
        if self._moments is not None:
            self._moments = Moments(self._moments.xx[index], self._moments.yx[index])
        if self._batches is not None:
            self._batches.select(index.cpu())


def first_rows(samples: Tensor) -> Tensor:
    """(K, 1) where each network's samples (K, N, ..) begin among those of all, (K N, ..)."""
    return torch.arange(len(samples), device=samples.device)[:, None] * samples.shape[1]


def spaced(x: Tensor) -> Tensor:
    """The same (K, N, D) for minibatches that are turned, which reads one feature of all samples, then the next.

    On a CPU, samples whose length is a multiple of a kibibyte begin in the same few places of a cache, which holds
    eight of them there: a space of a line between samples takes more than half of the time off turning them.
    """
    length = x.shape[2] * x.element_size()
    if not is_cached(x) or length % _SAME_PLACE:
        return x
    return pad(x, (0, _LINE // x.element_size()))[..., : x.shape[2]]


_SAME_PLACE, _LINE = 1024, 64
"""Bytes after which memory comes to the same places of a cache, at least a quarter of them; and of a line of it."""
