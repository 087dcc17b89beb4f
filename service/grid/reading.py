"""What canonical settings have under a path, also where canonical form leaves it out because it is as it always was."""

from collections.abc import Mapping
from typing import Any


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
    """What a layer without a number of its own has: that of all layers, if it is one."""
    parts = path.split(".")
    depth = _at(document, "network.depth") or 0
    if len(parts) != 4 or not parts[2].isdecimal() or not 1 <= int(parts[2]) <= depth:
        return None
    is_number = parts[3] in ("learning_rate", "weight_decay")
    return _at(document, f"training.{parts[3]}") if is_number else None
