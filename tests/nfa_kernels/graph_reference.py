"""One network of a list of layers as plain torch.nn modules, and its AGOPs by a loop over samples and outputs.

Written from the grid's own entries, with shapes found by passing a sample: nothing of nfa_kernels.graphs is used.
"""

from typing import Any

import torch
from torch import Tensor, nn

ACTIVATIONS = {
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.1),
    "tanh": nn.Tanh(),
    "gelu": nn.GELU(),
    "silu": nn.SiLU(),
    "softplus": nn.Softplus(threshold=1000),
    "sigmoid": nn.Sigmoid(),
}


class Add(nn.Module):
    """x + layers(x)."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Attending(nn.Module):
    """Multi-head attention, its four maps apart."""

    def __init__(self, width: int, heads: int, causal: bool, bias: bool) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.query, self.key, self.value, self.output = (nn.Linear(width, width, bias) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            one(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in (self.query, self.key, self.value)
        )
        found = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=self.causal)
        return self.output(found.transpose(1, 2).flatten(2))


class Placed(nn.Module):
    """A learned vector for each place."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


class Function(nn.Module):
    """A module without parameters."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class ImageRMS(nn.Module):
    """Root mean square over a whole image, one gain for each channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        size = x.square().mean((1, 2, 3), keepdim=True).add(1e-5).sqrt()
        return x / size * self.weight[:, None, None]


class Groups(nn.Module):
    """Groups of the features of each token or vector, or of an image; torch's refuses groups of a single number."""

    def __init__(self, groups: int, width: int) -> None:
        super().__init__()
        self.groups = groups
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.flatten(0, 1) if x.ndim == 3 else x
        some = rows.reshape(len(rows), self.groups, -1)
        centred = some - some.mean(-1, keepdim=True)
        found = (centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()).reshape(x.shape)
        shape = (-1, 1, 1) if x.ndim == 4 else (-1,)
        return found * self.weight.reshape(shape) + self.bias.reshape(shape)


def reference(layers: list[Any], x: Tensor, outputs: int, vocabulary: int = 0) -> nn.Sequential:
    """The layers as modules, in float64; x (N, ..) is passed to find the shapes."""
    found = nn.Sequential()
    for entry in layers:
        module = _module(entry, x, outputs, vocabulary).double()
        found.append(module)
        with torch.no_grad():
            x = module(x)
    return found


def _module(entry: Any, x: Tensor, outputs: int, vocabulary: int) -> nn.Module:  # noqa: PLR0911
    kind: str = entry if isinstance(entry, str) else next(iter(entry))
    given: Any = {} if isinstance(entry, str) else entry[kind]
    if kind in ACTIVATIONS:
        return ACTIVATIONS[kind]
    if kind == "linear":
        settings = {"units": given} if isinstance(given, int) else given
        return nn.Linear(x.shape[-1], settings.get("units", outputs), settings.get("bias", False))
    if kind == "conv":
        size, stride = given["kernel"], given.get("stride", 1)
        conv = nn.Conv2d(x.shape[1], given["channels"], size, stride, bias=given.get("bias", False))
        if given.get("padding", "same") == "valid":
            return conv
        before = (size - 1) // 2
        return nn.Sequential(nn.ZeroPad2d((before, size - 1 - before, before, size - 1 - before)), conv)
    if kind == "norm":
        return _norm({"kind": given} if isinstance(given, str) else given, x)
    if kind == "pool":
        settings: dict[str, Any] = {"size": "global"} if given == "global" else given
        kind, size = settings.get("kind", "average"), settings.get("size", "global")
        if size == "global":
            pool = nn.AdaptiveAvgPool2d(1) if kind == "average" else nn.AdaptiveMaxPool2d(1)
            return nn.Sequential(pool, nn.Flatten())
        return nn.AvgPool2d(size) if kind == "average" else nn.MaxPool2d(size)
    if kind == "residual":
        return Add(reference(given, x, outputs))
    if kind == "attention":
        return Attending(x.shape[-1], given["heads"], given.get("causal", False), given.get("bias", False))
    if kind == "embedding":
        return nn.Embedding(vocabulary, given)
    if kind == "positions":
        return Placed(tuple(x.shape[1:]))
    functions = {"mean": lambda x: x.mean(1), "last": lambda x: x[:, -1], "flatten": lambda x: x.flatten(1)}
    return Function(functions["flatten" if kind == "flatten" else given])


def _norm(settings: dict[str, Any], x: Tensor) -> nn.Module:
    kind, features = settings["kind"], x.shape[1] if x.ndim == 4 else x.shape[-1]
    if kind == "rms":
        return ImageRMS(features) if x.ndim == 4 else nn.RMSNorm(features, eps=1e-5)
    if kind == "layer":
        return nn.GroupNorm(1, features) if x.ndim == 4 else nn.LayerNorm(features)
    return Groups(settings.get("groups", 1), features)


def load(module: nn.Module, arrays: list[Tensor]) -> None:
    """Write arrays in forward order over the module's parameters."""
    with torch.no_grad():
        for one, array in zip(module.parameters(), arrays, strict=True):
            one.copy_(array.reshape(one.shape))


def agops(module: nn.Module, x: Tensor) -> list[Tensor]:
    """G (in, in) of every linear map and convolution, in forward order: a loop over samples, outputs and positions."""
    maps = [one for one in module.modules() if isinstance(one, nn.Linear | nn.Conv2d)]
    found = [torch.zeros(one.weight[0].numel(), one.weight[0].numel(), dtype=torch.float64) for one in maps]
    zeros: dict[nn.Module, Tensor] = {}

    def added(one: nn.Module, _inputs: Any, z: Tensor) -> Tensor:
        zeros[one] = torch.zeros_like(z, requires_grad=True)
        return z + zeros[one]

    hooks = [one.register_forward_hook(added) for one in maps]
    for sample in x.unsqueeze(1):
        for output in module(sample)[0]:
            back = torch.autograd.grad(output, [zeros[one] for one in maps], retain_graph=True)
            for place, (one, of_z) in enumerate(zip(maps, back, strict=True)):
                rows = of_z[0].flatten(1).T if isinstance(one, nn.Conv2d) else of_z.reshape(-1, of_z.shape[-1])
                for row in rows:
                    of_patch = row @ one.weight.detach().flatten(1)
                    found[place] += torch.outer(of_patch, of_patch) / len(x)
    for hook in hooks:
        hook.remove()
    return found
