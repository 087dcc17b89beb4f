"""Steps and measurements of stacks as bare lists of calls: their products, their passes over memory, nothing else.

All arrays are there already, and no two calls are decided between. What benchmarks/roofline.py compares ours with.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from peer_training import Sweep
from torch import Tensor

from nfa_kernels.networks import Architecture, laid_out

CHUNK_BYTES = 1 << 20
"""Of the activations, or of the Jacobians, that are passed through at once, for a core's cache. Ours are passed through
more at once: what is decided around their calls would cost more than that cache gives."""
KEEP, RATE = 0.9999, -1e-6


@dataclass
class Bare:
    """A list of calls, with what each reads and writes."""

    products: list[Callable[[], object]] = field(default_factory=list)
    eigenvectors: list[Callable[[], object]] = field(default_factory=list)
    calls: list[Callable[[], object]] = field(default_factory=list)
    bytes: int = 0
    rooms: dict[tuple, Tensor] = field(default_factory=dict)
    taken: int = 0

    def begin(self) -> None:
        """Pass through further networks: their arrays take the room of those before."""
        self.taken = 0

    def room(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """An array of this pass."""
        self.taken += 1
        return self.rooms.setdefault((self.taken, shape, dtype), torch.zeros(shape, dtype=dtype))

    def beside(self, x: Tensor, width: int) -> Tensor:
        """Room for activations (K, width, N) that lie in memory as x does."""
        lanes, _, samples = x.shape
        if x.stride(-1) == 1:
            return self.room(lanes, width, samples, dtype=x.dtype)
        return self.room(lanes, samples, width, dtype=x.dtype).mT

    def product(self, left: Tensor, right: Tensor, out: Tensor) -> None:
        """out = left @ right."""
        if out.stride(-1) == 1:
            self.add(lambda: torch.bmm(left, right, out=out), left, right, out)
        else:
            self.add(lambda: torch.bmm(right.mT, left.mT, out=out.mT), left, right, out)
        self.products.append(self.calls[-1])

    def update(self, weight: Tensor, left: Tensor, right: Tensor) -> None:
        """Weight = KEEP weight + RATE left @ right."""
        self.add(lambda: weight.baddbmm_(left, right, beta=KEEP, alpha=RATE), left, right, weight, weight)
        self.products.append(self.calls[-1])

    def add(self, call: Callable[[], object], *arrays: Tensor) -> None:
        """A call over arrays; one that is read and written is named twice."""
        self.calls.append(call)
        self.bytes += sum(array.numel() * array.element_size() for array in arrays)


def bare_step(sweep: Sweep, lanes: int) -> Bare:
    """The bare step of a stack of so many networks."""
    return (bare_linear if sweep.activation == "linear" else bare_activated)(sweep, lanes)


def bare_linear(sweep: Sweep, lanes: int) -> Bare:
    """Through the thin side, on the second moments of the data; see nfa_kernels/products.py."""
    dtype, bare = getattr(torch, sweep.dtype), Bare()
    weights = _weights(sweep, lanes, dtype)
    inputs, outputs = sweep.widths[0], sweep.widths[-1]
    xx, yx, end = torch.randn(lanes, inputs, inputs, dtype=dtype), *torch.randn(2, lanes, outputs, inputs, dtype=dtype)
    partial = [weights[-1]]
    for weight in reversed(weights[:-1]):
        partial.append(torch.empty(lanes, outputs, weight.shape[2], dtype=dtype))
        bare.product(partial[-2], weight, partial[-1])
    bare.product(partial[-1], xx, end)
    bare.add(lambda: end.sub_(yx), end, yx, end)
    rights = [end]
    for weight in weights[:-1]:
        rights.append(torch.empty(lanes, outputs, weight.shape[1], dtype=dtype))
        bare.product(rights[-2], weight.mT, rights[-1])
    for layer, weight in enumerate(weights[:-1]):
        bare.update(weight, partial[-2 - layer].mT, rights[layer])
    _plain_update(bare, weights[-1], rights[-1])
    return bare


def bare_activated(sweep: Sweep, lanes: int) -> Bare:
    """Forward and back, a few networks at a time; layers wider than the batch are updated from thin factors."""
    dtype, bare = getattr(torch, sweep.dtype), Bare()
    weights, samples = _weights(sweep, lanes, dtype), sweep.batch_size or sweep.samples
    # the longer of samples and features lies side by side, as in nfa_kernels/networks.py
    data = (torch.randn(lanes, samples, width, dtype=dtype) for width in (sweep.widths[0], sweep.widths[-1]))
    x, y = (laid_out(Architecture(sweep.widths, sweep.activation), one).mT for one in data)
    is_thin = sweep.batch_size is not None
    size = lanes if is_thin else max(1, CHUNK_BYTES // (samples * sum(sweep.widths) * x.element_size()))
    gradients = [torch.empty_like(weight) for weight in weights]
    for first in range(0, lanes, size):
        some = slice(first, first + size)
        bare.begin()
        _pass(bare, [w[some] for w in weights], [g[some] for g in gradients], x[some], y[some], is_thin=is_thin)
    if not is_thin:
        for weight, gradient in zip(weights, gradients, strict=True):
            _plain_update(bare, weight, gradient)
    return bare


def _pass(bare: Bare, weights: list[Tensor], gradients: list[Tensor], x: Tensor, y: Tensor, *, is_thin: bool) -> None:
    """Forward and back through a few networks."""
    hidden = [x]
    for layer, weight in enumerate(weights):
        after = bare.beside(x, weight.shape[1])
        bare.product(weight, hidden[-1], after)
        if layer < len(weights) - 1:
            bare.add(lambda after=after: torch.relu_(after), after, after)
        hidden.append(after)
    outputs = hidden[-1]
    bare.add(lambda: outputs.sub_(y), outputs, y, outputs)
    deltas = [outputs]
    for layer in range(len(weights) - 1, 0, -1):
        back, before = bare.beside(x, hidden[layer].shape[1]), hidden[layer]
        bare.product(weights[layer].mT, deltas[-1], back)
        backward = torch.ops.aten.threshold_backward.grad_input
        bare.add(lambda back=back, z=before, f=backward: f(back, z, 0, grad_input=back), back, before, back)
        deltas.append(back)
    for layer, delta in enumerate(reversed(deltas)):
        if is_thin:
            bare.update(weights[layer], delta, hidden[layer].mT)
        else:
            bare.product(delta, hidden[layer].mT, gradients[layer])


def _plain_update(bare: Bare, weight: Tensor, gradient: Tensor) -> None:
    bare.add(lambda: weight.mul_(KEEP), weight, weight)
    bare.add(lambda: weight.add_(gradient, alpha=RATE), weight, gradient, weight)


def _weights(sweep: Sweep, lanes: int, dtype: torch.dtype) -> list[Tensor]:
    pairs = zip(sweep.widths, sweep.widths[1:], strict=False)
    return [torch.randn(lanes, after, before, dtype=dtype) / before**0.5 for before, after in pairs]


def bare_measurement(sweep: Sweep, lanes: int) -> Bare:
    """The loss and the alignment of the first layer of networks that are not linear, a few networks at a time."""
    dtype, bare, (inputs, *_, outputs) = getattr(torch, sweep.measured_in or sweep.dtype), Bare(), sweep.widths
    weights, x = _weights(sweep, lanes, dtype), torch.randn(lanes, inputs, sweep.samples, dtype=dtype)
    size = max(1, CHUNK_BYTES // (sweep.samples * outputs * max(sweep.widths) * x.element_size()))
    for first in range(0, lanes, size):
        some = slice(first, first + size)
        bare.begin()
        passed = [x[some]]
        for layer, weight in enumerate(weights):
            after = bare.beside(x[some], weight.shape[1])
            bare.product(weight[some], passed[-1], after)
            if layer < len(weights) - 1:
                bare.add(lambda after=after: torch.relu_(after), after, after)
            passed.append(after)
        _spectrum(bare, _jacobians(bare, [weight[some] for weight in weights], passed))
    double, vectors = weights[0].to(torch.float64), torch.randn(lanes, inputs, inputs, dtype=torch.float64)
    bare.product(double, vectors, torch.empty_like(double))
    bare.product(double.mT, double, torch.empty_like(vectors))
    return bare


def _jacobians(bare: Bare, weights: list[Tensor], passed: list[Tensor]) -> Tensor:
    """(K, D, C N) df/dx of every output and sample."""
    last, (lanes, _, samples) = weights[-1], passed[0].shape
    outputs, back = last.shape[1], last.mT.unsqueeze(3)
    for layer in range(len(weights) - 1, 0, -1):
        weight, before = weights[layer - 1], passed[layer]
        width, inputs = weight.shape[1:]
        found = bare.room(lanes, inputs, outputs, samples, dtype=last.dtype)
        is_last = layer == len(weights) - 1
        if is_last:
            slopes = bare.room(*before.shape, dtype=last.dtype)
            bare.add(lambda z=before, out=slopes: torch.gt(z, 0, out=out), before, slopes)
        if is_last and inputs <= samples:
            scaled = bare.room(lanes, inputs, outputs, width, dtype=last.dtype)
            columns = weight.mT.contiguous().unsqueeze(2)
            bare.add(lambda w=columns, out=scaled: torch.mul(w, last.unsqueeze(1), out=out), weight, last, scaled)
            bare.product(scaled.flatten(1, 2), slopes, found.flatten(1, 2))
        else:
            if is_last:
                room = bare.room(lanes, width, outputs, samples, dtype=last.dtype)
                spread = slopes.unsqueeze(2)
                bare.add(lambda b=back, s=spread, out=room: torch.mul(b, s, out=out), last, slopes, room)
                back = room
            else:
                spread, fused = before.unsqueeze(2), torch.ops.aten.threshold_backward.grad_input
                bare.add(lambda b=back, z=spread, f=fused: f(b, z, 0, grad_input=b), back, before, back)
            bare.product(weight.mT, back.flatten(2), found.flatten(2))
        back = found
    return back.flatten(2)


def _spectrum(bare: Bare, factor: Tensor) -> None:
    """Eigenvectors of the AGOP of a factor (K, D, R), in float64."""
    lanes, inputs, rows = factor.shape
    double, matrix = factor, bare.room(lanes, inputs, inputs, dtype=torch.float64)
    if factor.dtype != torch.float64:
        double = bare.room(lanes, inputs, rows, dtype=torch.float64)
        bare.add(lambda: double.copy_(factor), factor, double)
    bare.product(double, double.mT, matrix)
    bare.add(lambda: torch.linalg.eigh(matrix), matrix, matrix)
    bare.eigenvectors.append(bare.calls[-1])
