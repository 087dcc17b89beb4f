"""Whether uploaded initial weights are the arrays that a network reads: all of them, and no others. Pure."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Final

from nfa_kernels.graphs.state_dicts import by_own_names, third_of_shape
from service.grid.built_networks import Built
from service.grid.data_shapes import Arrays, Misfit
from service.grid.trial_settings import TrialSettings

_SHOWN: Final = 8
"""Arrays that a refusal names."""


def given_weights(settings: TrialSettings, network: Built, datasets: Mapping[str, Arrays]) -> Iterator[Misfit]:
    """What of an upload does not fit a network that begins with it."""
    if settings.init.scheme != "given" or settings.init.weights_id is None:
        return
    arrays = datasets.get(settings.init.weights_id)
    if arrays is None:
        yield Misfit("init.weights_id", "no such dataset: upload the weights with POST /datasets and give its id")
        return
    needed = network.arrays()
    arrays = by_own_names(arrays, network.in_order(len(arrays)), third_of_shape)
    has_optional = any(name in arrays for name in needed if network.optional(name))
    needed = {name: shape for name, shape in needed.items() if has_optional or not network.optional(name)}
    if len(arrays) > 1 and not any(name in arrays for name in needed):
        yield Misfit("init.weights_id", _of_other_modules(settings, arrays, needed))
        return
    for name, shape in needed.items():
        if name not in arrays:
            told = ", ".join(arrays)
            yield Misfit("init.weights_id", f"has no array {name}, which must be {shape}; it has {told}")
        elif tuple(arrays[name]) != shape:
            yield Misfit("init.weights_id", f"{name} has shape {tuple(arrays[name])}, the network needs {shape}")
    unread = [name for name in arrays if name not in needed]
    if unread:
        is_without = settings.network.kind == "mlp" and not settings.network.bias
        why = "; biases b1, b2, .. need network.bias: true" if is_without else ""
        told = f"has {', '.join(unread)}, which this network does not read: it reads {', '.join(needed)}{why}"
        yield Misfit("init.weights_id", told)


def _of_other_modules(settings: TrialSettings, arrays: Arrays, needed: Mapping[str, tuple[int, ...]]) -> str:
    """What to say of arrays none of which the network reads by its name, nor by its place among modules."""
    wanted = ", ".join(f"{name} {shape}" for name, shape in itertools.islice(needed.items(), _SHOWN))
    more = ", .." if len(needed) > _SHOWN else ""
    biases = sum(name.rpartition(".")[2] == "bias" for name in arrays)
    has_none = biases and settings.network.kind != "graph" and not settings.network.bias
    why = f"; {biases} are biases, which need network.bias: true" if has_none else ""
    told = f"has {len(arrays)} arrays, of attentions the four maps apart, and this network reads {len(needed)}"
    return f"{told}: {wanted}{more}{why}. Names of modules are read where as many arrays stand in the same order"
