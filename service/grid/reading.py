"""What canonical settings have under a path, also where canonical form leaves it out because it is as it always was."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

LAYERS: Final = "layers"
"""Beside the sections of settings that come from the store: names of the network's layers."""


def setting(document: Mapping[str, Any], path: str) -> Any:
    """A setting by its path, None where the trial does not read it; a width that all layers share is a number."""
    value = _at(document, path)
    if value is None:
        return _left_out(document, path)
    if path == "network.width" and isinstance(value, list) and value and len(set(value)) == 1:
        return value[0]
    return value


def _at(document: Mapping[str, Any], path: str) -> Any:
    value: Any = document
    for part in path.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _left_out(document: Mapping[str, Any], path: str) -> Any:
    """What a trial that reads a setting of a later release has for it where it says nothing."""
    match path:
        case "network.kind":
            return "mlp" if "network" in document else None
        case "data.layout":
            return "flat" if _at(document, "data.kind") == "digits" else None
        case "training.label_smoothing":
            return 0.0 if _at(document, "training.loss") == "cross_entropy" else None
        case "training.decay_biases":
            own = (_at(document, "training.layers") or {}).values()
            decays = _at(document, "training.weight_decay") or any(layer.get("weight_decay") for layer in own)
            return True if decays and _at(document, "network.bias") else None
        case _ if path.startswith("training.layers."):
            return _of_layer(document, path)
    return None


def _of_layer(document: Mapping[str, Any], path: str) -> Any:
    """What a layer has: its own number, also where it is meant by another of its names, or that of all layers."""
    parts = path.split(".")
    if len(parts) != 4 or parts[3] not in ("learning_rate", "weight_decay"):
        return None
    layer: int | str = int(parts[2]) if parts[2].isdecimal() else parts[2]
    if isinstance(layer, str) and not _is_owner(document, layer):
        return None
    number = layer_number(document, layer)
    if isinstance(layer, int) and number is None:
        return None
    own = _at(document, "training.layers") or {}
    named = layer_names(document)
    name = named[layer - 1] if isinstance(layer, int) and named else str(layer)
    # a map of an attention has what the whole of it has
    said = [own[key][parts[3]] for key in (name, name.partition(".")[0]) if parts[3] in own.get(key, {})]
    return said[0] if said else _at(document, f"training.{parts[3]}")


def _is_owner(document: Mapping[str, Any], name: str) -> bool:
    """Whether a network has a layer of this name, or an attention whose maps have names below it."""
    own = _at(document, "training.layers") or {}
    return name in own or any(name in (one, one.partition(".")[0]) for one in layer_names(document))


def layer_names(document: Mapping[str, Any]) -> Sequence[str]:
    """Names of a network's layers in the order of their numbers; none where they have numbers alone."""
    return document.get(LAYERS) or ()


def layer_number(document: Mapping[str, Any], layer: int | str) -> int | None:
    """The number of a network's layer; None if it has no such layer."""
    named = layer_names(document)
    if isinstance(layer, str):
        return named.index(layer) + 1 if layer in named else None
    count = len(named) or _at(document, "network.depth") or 0
    return layer if 1 <= layer <= count else None


def measured_names(document: Mapping[str, Any], further: Collection[int] = ()) -> dict[int, str | None]:
    """Number of each measured layer -> its name; of further ones too."""
    named = layer_names(document)
    numbers = sorted({*document["measure"]["layers"], *further})
    return {number: named[number - 1] if named else None for number in numbers}
