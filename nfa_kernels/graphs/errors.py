"""What a list of layers is refused with."""

from typing import Final

_NOT_THERE: Final = {
    "batchnorm": "batch normalisation lets samples interact, so a Jacobian of one sample is not defined; "
    "layer, rms and group normalisation are there: {norm: layer}",
    "dropout": "dropout makes outputs random, and a network is measured without noise; leave it out, or decay weights",
}
_ALSO_CALLED: Final = {
    **dict.fromkeys(("batch", "batch_norm", "batchnorm1d", "batchnorm2d", "bn"), "batchnorm"),
    **dict.fromkeys(("drop", "drop_out"), "dropout"),
}


def why_not(kind: str) -> str | None:
    """Why there is no such layer, and what to take instead; None for one that nobody would miss."""
    name = kind.lower()
    return _NOT_THERE.get(_ALSO_CALLED.get(name, name))


class GraphError(ValueError):
    """Layers that are no network, or do not fit the data: names the layer, what was received and the next step."""

    def __init__(self, where: str, told: str) -> None:
        super().__init__(f"{where}: {told}")
        self.where = where
        """Path of the layer, as layers[2].residual[0]."""
        self.told = told
        """What is wrong with it."""
