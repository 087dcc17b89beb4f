"""What a graph has so far while its layers are read: names, parameters and measured matrices."""

from dataclasses import dataclass, field, replace

from nfa_kernels.graphs.errors import GraphError
from nfa_kernels.graphs.nodes import Measured, Parameter, Shape


@dataclass
class Building:
    """The parameters and measured matrices found so far, in forward order."""

    outputs: int
    """The data's number of outputs, which the last linear map takes."""
    vocabulary: int
    """How many numbers of tokens there are; 0 where inputs are real numbers."""
    last_path: str
    has_embedded: bool = False
    parameters: list[Parameter] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    _paths: dict[str, str] = field(default_factory=dict)
    _counts: dict[str, int] = field(default_factory=dict)
    _tables: int = 0

    def is_last(self, path: str) -> bool:
        """Whether the layer at this path gives the network's outputs."""
        return path == self.last_path

    def is_numbers(self, shape: Shape) -> bool:
        """Whether what has this shape is numbers of tokens, not yet embedded."""
        return self.vocabulary > 0 and not self.has_embedded and len(shape) == 1

    def refuse_numbers(self, path: str, shape: Shape, what: str) -> None:
        """Refuse numbers of tokens where real numbers are needed."""
        if self.is_numbers(shape):
            raise GraphError(path, f"{what} receives numbers of tokens {shape}; put {{embedding: 32}} before it")

    def named(self, kind: str, given: str | None, path: str) -> str:
        """The layer's own name, or its kind and how many of it there are so far.

        Raises:
            GraphError: another layer has that name.
        """
        self._counts[kind] = self._counts.get(kind, 0) + 1
        name = given or f"{kind}{self._counts[kind]}"
        if name in self._paths:
            raise GraphError(path, f"the name {name} is that of {self._paths[name]} already; give one of them another")
        self._paths[name] = path
        return name

    def add(self, parameter: Parameter) -> int:
        """Add a parameter; its place. Tables of embeddings and positions draw from streams of their own."""
        if parameter.role in ("embedding", "position"):
            self._tables += 1
            parameter = replace(parameter, stream=f"init/table/{self._tables}")
        self.parameters.append(parameter)
        return len(self.parameters) - 1

    def map(
        self, name: str, fan_in: int, shape: Shape, bias: bool, *, positions: int
    ) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Add a measured matrix, and its bias: the places of its parameters, and its number.

        The l-th map draws from the stream init/l, as a layer of an MLP does.
        """
        number, receptive = len(self.measured) + 1, fan_in // shape[1]
        weight = Parameter(f"{name}.weight", shape, "weight", fan_in, shape[0] * receptive, f"init/{number}")
        places = [self.add(weight)]
        if bias:
            places.append(self.add(Parameter(f"{name}.bias", (shape[0],), "bias", fan_in, shape[0])))
        self.measured.append(Measured(number, name, shape[0], fan_in, positions, places[0], 0, False, None))
        return tuple(places), (number,)
