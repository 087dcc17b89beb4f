"""What a list of layers is refused with."""


class GraphError(ValueError):
    """Layers that are no network, or do not fit the data: names the layer, what was received and the next step."""

    def __init__(self, where: str, told: str) -> None:
        super().__init__(f"{where}: {told}")
        self.where = where
        """Path of the layer, as layers[2].residual[0]."""
        self.told = told
        """What is wrong with it."""
