"""Which networks of a stack have reached what their settings stop at, judged where they are measured."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from nfa_kernels.metrics import Measured
from service.grid.reading import LAYERS, layer_number, setting
from service.questions import filters
from service.questions.stops import MOST_IN_WINDOW
from workers.blocks import LOSS_BELOW, PLATEAU, STOP_WHEN, Lane
from workers.checkpoints import Named

_HISTORY = "stopping.history"


class Stopping:
    """Judges lanes at their measured steps; numbers of one never decide about another.

    Args:
        lanes: of the stack, which share `training.stop`.
        layers: names of the network's layers in the order of their numbers; none where they have numbers alone.
    """

    def __init__(self, lanes: Sequence[Lane], layers: Sequence[str] = ()) -> None:
        self._lanes, self._layers = lanes, {LAYERS: tuple(layers)}
        stop = lanes[0].settings["training"].get("stop", {})
        self._loss_below: float = stop.get("loss_below", -math.inf)
        self._tree = filters.parse(stop["when"]) if "when" in stop else None
        self._plateau: Mapping[str, Any] | None = stop.get("plateau")
        self._at_least: int = stop.get("at_least", 0)
        self.is_asked = bool(stop)
        """Whether the settings stop networks at all."""
        self._seen: dict[int, list[tuple[int, float]]] = {}
        """Lane -> (step, value) of what must not change, as far back as it matters."""

    def reasons(self, lanes: Sequence[int], step: int, measured: Measured) -> dict[int, str]:
        """Place among these lanes -> why it stops here; none of those that go on.

        Args:
            lanes: numbers in the stack of those that were measured.
            step: where.
            measured: of these lanes.
        """
        columns: dict[str, list[float]] = {}

        def value(place: int, path: str) -> Any:
            if path == "seed":
                return self._lanes[lanes[place]].seed
            found = filters.split_final(path)
            if found is None:
                return setting({**self._lanes[lanes[place]].settings, **self._layers}, path)
            if path not in columns:
                columns[path] = self._column(measured, len(lanes), *found)
            return columns[path][place]

        still = self._unchanged(lanes, step, value)
        if step < self._at_least:
            return {}
        reasons = {}
        for place, loss in enumerate(measured.network["train_loss"].tolist()):
            if loss < self._loss_below:
                reasons[place] = LOSS_BELOW
            elif self._tree is not None and filters.matches(self._tree, _of(value, place)):
                reasons[place] = STOP_WHEN
            elif place in still:
                reasons[place] = PLATEAU
        return reasons

    def _column(self, measured: Measured, count: int, metric: str, layer: int | str | None) -> list[float]:
        """What the measured lanes have of a metric in a layer, the first measured one where none is named."""
        if metric in measured.network:
            return measured.network[metric].tolist()
        number = min(measured.layers, default=1) if layer is None else self._number(layer)
        if metric in measured.layers.get(number or 0, {}):
            return measured.layers[number or 0][metric].tolist()
        found = [values for at, name, values in measured.parametrised if (at, name) == (number, metric)]
        return found[0].tolist() if found else [math.nan] * count

    def _number(self, layer: int | str) -> int | None:
        return layer if isinstance(layer, int) else layer_number(self._layers, layer)

    def _unchanged(self, lanes: Sequence[int], step: int, value: Callable[[int, str], Any]) -> frozenset[int]:
        """Places of lanes whose metric has stayed within `change` for `over` steps; what was seen is noted."""
        if self._plateau is None:
            return frozenset()
        layer = self._plateau.get("layer")
        path = f"final.{self._plateau['metric']}" + ("" if layer is None else f"[{layer}]")
        since, found = step - self._plateau["over"], []
        for place, lane in enumerate(lanes):
            seen = [*self._seen.get(lane, ()), (step, float(value(place, path)))]
            # the last one before the window is where the window begins
            begin = max((at for at, (there, _) in enumerate(seen) if there <= since), default=0)
            self._seen[lane] = seen = seen[begin:]
            values = [one for _, one in seen]
            is_covered = seen[0][0] <= since
            if is_covered and all(map(math.isfinite, values)) and max(values) - min(values) <= self._plateau["change"]:
                found.append(place)
        return frozenset(found)

    def state(self, lanes: Sequence[int]) -> Named:
        """What `restore` needs: (K, MOST_IN_WINDOW, 2) steps and values that were seen, NaN behind them."""
        if self._plateau is None:
            return {}
        history = torch.full((len(lanes), MOST_IN_WINDOW, 2), math.nan, dtype=torch.float64)
        for place, lane in enumerate(lanes):
            if seen := self._seen.get(lane):
                history[place, : len(seen)] = torch.tensor(seen, dtype=torch.float64)
        return {_HISTORY: history}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a state of the same lanes."""
        if self._plateau is not None:
            for lane, history in enumerate(state[_HISTORY].tolist()):
                self._seen[lane] = [(int(step), value) for step, value in history if not math.isnan(step)]


def _of(value: Callable[[int, str], Any], place: int) -> filters.Lookup:
    return lambda path: value(place, path)
