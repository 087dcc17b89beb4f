"""Residual, convolutional and attention networks as a theorist would write them without this service.

One network of torch.nn modules at a time, torch's optimisers, autograd, a measurement every few steps. As
`peer_training`, of which this is the part for other kinds than fully connected ones; knows nothing of this package.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS = {"linear": nn.Identity, "relu": nn.ReLU, "gelu": nn.GELU}
NORMS = {"none": lambda _: nn.Identity(), "layer": nn.LayerNorm, "rms": lambda width: nn.RMSNorm(width, eps=1e-5)}


@dataclass(frozen=True)
class NetworkSweep:
    """Sizes of a sweep; every trial has its own seed."""

    name: str
    network: dict[str, Any] = field(hash=False)
    """`kind` and its settings, by the names of this service."""
    form: tuple[int, ...]
    """Of one sample: (d,), (c, h, w), tokens (t, d), or (t,) numbers of tokens."""
    outputs: int
    samples: int
    steps: int
    every: int
    dtype: str = "float64"
    batch_size: int | None = None
    optimizer: str = "sgd"
    loss: str = "half"
    learning_rate: float = 0.01
    weight_decay: float = 0.01
    vocabulary: int = 0
    measured_in: str = ""
    """dtype of the passes over samples that a measurement takes; empty: the training's."""


def network_sweep_of(words: dict[str, Any]) -> NetworkSweep:
    """A sweep out of plain values."""
    words["form"] = tuple(words["form"])
    return NetworkSweep(**words)


class Block(nn.Module):
    """x + layers(x), or layers(x) alone."""

    def __init__(self, *layers: nn.Module, skip: bool = True) -> None:
        super().__init__()
        self.layers, self.skip = nn.Sequential(*layers), skip

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x) if self.skip else self.layers(x)


class Attention(nn.Module):
    """Multi-head attention with maps of its own for queries, keys, values and outputs."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            one(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in (self.query, self.key, self.value)
        )
        found = functional.scaled_dot_product_attention(query, key, value)
        return self.output(found.transpose(1, 2).flatten(2))


class Transformer(nn.Module):
    """Blocks of attention and an MLP, normalised before each, between an embedding and the mean of all tokens."""

    def __init__(self, sweep: NetworkSweep) -> None:
        super().__init__()
        network, tokens = sweep.network, sweep.form[0]
        width, norm = network["width"], NORMS[network.get("norm", "layer")]
        activation, mlp_width = ACTIVATIONS[network.get("activation", "gelu")], network.get("mlp_width") or 4 * width
        self.embedding = (
            nn.Embedding(sweep.vocabulary, width) if sweep.vocabulary else nn.Linear(sweep.form[1], width, bias=False)
        )
        self.positions = nn.Parameter(torch.randn(tokens, width) / width**0.5)
        blocks = []
        for _ in range(network["depth"]):
            maps = nn.Linear(width, mlp_width, bias=False), activation(), nn.Linear(mlp_width, width, bias=False)
            blocks += [Block(norm(width), Attention(width, network.get("heads", 1))), Block(norm(width), *maps)]
        self.blocks, self.norm = nn.Sequential(*blocks), norm(width)
        self.head = nn.Linear(width, sweep.outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.blocks(self.embedding(x) + self.positions)).mean(1))


def resmlp(sweep: NetworkSweep) -> nn.Module:
    """One map in, residual blocks of one map each, one map out."""
    network = sweep.network
    width, inner = network["width"], network["depth"] - 2
    norm, activation = NORMS[network.get("norm", "none")], ACTIVATIONS[network.get("activation", "linear")]
    inputs = torch.Size(sweep.form).numel()
    blocks = [
        Block(norm(width), activation(), nn.Linear(width, width, bias=False), skip=network.get("skip", True))
        for _ in range(inner)
    ]
    last = norm(width), activation(), nn.Linear(width, sweep.outputs, bias=False)
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, width, bias=False), *blocks, *last)


def convnet(sweep: NetworkSweep) -> nn.Module:
    """Convolutions with their activations, the average of the image, one map out."""
    network, channels = sweep.network, sweep.form[0]
    layers: list[nn.Module] = []
    for _ in range(network["depth"] - 1):
        layers.append(nn.Conv2d(channels, network["channels"], network.get("kernel", 3), padding="same", bias=False))
        layers.append(ACTIVATIONS[network.get("activation", "linear")]())
        channels = network["channels"]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, sweep.outputs, bias=False))


def mlp(sweep: NetworkSweep) -> nn.Module:
    """Maps with activations between them."""
    return resmlp(replace(sweep, network={**sweep.network, "skip": False, "norm": "none"}))


KINDS: dict[str, Callable[[NetworkSweep], nn.Module]] = {
    "mlp": mlp,
    "resmlp": resmlp,
    "convnet": convnet,
    "transformer": Transformer,
}
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "half": lambda outputs, y: 0.5 * (outputs - y).square().sum(1).mean(),
    "cross_entropy": functional.cross_entropy,
}
OPTIMIZERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "gd": torch.optim.SGD,
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def alignment(network: nn.Module, x: Tensor, above: int) -> float:
    """Cosine of W^T W and the power 1/above of the AGOP at the inputs of the first map or convolution."""
    first = next(one for one in network.modules() if isinstance(one, nn.Linear | nn.Conv2d))
    kept: list[Tensor] = []
    hook = first.register_forward_hook(lambda _module, _inputs, z: kept.append(z))
    outputs = network(x)
    hook.remove()
    weight = first.weight.detach().flatten(1).double()
    agop = torch.zeros(weight.shape[1], weight.shape[1], dtype=torch.float64)
    for output in outputs.unbind(1):
        (of_z,) = torch.autograd.grad(output.sum(), kept, retain_graph=True)
        rows = (of_z.movedim(1, -1) if of_z.ndim == 4 else of_z).flatten(0, -2).double() @ weight
        agop += rows.T @ rows / len(x)
    values, vectors = torch.linalg.eigh(agop)
    power = vectors * values.clamp_min(0) ** (1 / above) @ vectors.T
    gram = weight.T @ weight
    return float((gram * power).sum() / gram.norm() / power.norm())


def above_first(network: nn.Module) -> int:
    """Maps and convolutions from the first one to the output; of an attention, two are one behind the other."""
    maps = sum(isinstance(one, nn.Linear | nn.Conv2d) for one in network.modules())
    return maps - 2 * sum(isinstance(one, Attention) for one in network.modules())


def drawn(sweep: NetworkSweep, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Inputs, and targets that name classes."""
    dtype = getattr(torch, sweep.dtype)
    if sweep.vocabulary:
        x = torch.randint(sweep.vocabulary, (sweep.samples, *sweep.form), generator=generator)
    else:
        x = torch.randn(sweep.samples, *sweep.form, generator=generator, dtype=dtype)
    labels = torch.randint(sweep.outputs, (sweep.samples,), generator=generator)
    return x, functional.one_hot(labels, sweep.outputs).to(dtype)


def train_network(sweep: NetworkSweep, seed: int, report: Callable[[int, float, float], None]) -> None:
    """One trial; calls report(step, loss, alignment) at every measured step."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    x, y = drawn(sweep, generator)
    network = KINDS[sweep.network["kind"]](sweep).to(y.dtype)
    moved(sweep, network, x, y, generator, report)


def moved(
    sweep: NetworkSweep,
    network: nn.Module,
    x: Tensor,
    y: Tensor,
    generator: torch.Generator,
    report: Callable[[int, float, float], None],
) -> None:
    """Train a network on these data."""
    loss, above = LOSSES[sweep.loss], above_first(network)
    rates = {"lr": sweep.learning_rate, "weight_decay": sweep.weight_decay}
    optimizer = OPTIMIZERS[sweep.optimizer](network.parameters(), **rates)
    measured_dtype = getattr(torch, sweep.measured_in or sweep.dtype)
    for step in range(sweep.steps + 1):
        if step % sweep.every == 0 or step == sweep.steps:
            network.to(measured_dtype)
            inputs = x if sweep.vocabulary else x.to(measured_dtype)
            with torch.no_grad():
                value = float(loss(network(inputs), y.to(measured_dtype)))
            report(step, value, alignment(network, inputs, above))
            network.to(y.dtype)
        if step == sweep.steps:
            break
        xs, ys = x, y
        if sweep.batch_size:
            rows = torch.randperm(sweep.samples, generator=generator)[: sweep.batch_size]
            xs, ys = x[rows], y[rows]
        optimizer.zero_grad()
        loss(network(xs), ys).backward()
        optimizer.step()


def timed_network(sweep: NetworkSweep, seed: int) -> float:
    """Seconds of one trial on one thread, its rows kept in a list."""
    torch.set_num_threads(1)
    rows: list[tuple[int, float, float]] = []
    started = time.perf_counter()
    train_network(sweep, seed, lambda *row: rows.append(row))
    return time.perf_counter() - started
