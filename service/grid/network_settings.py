"""The block under `trial.network`: which network is trained. Which fields count depends on `kind`."""

from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, model_validator

from nfa_kernels import names
from nfa_kernels.graphs.errors import GraphError, why_not
from nfa_kernels.graphs.limits import check_limits
from service.grid.setting_types import Count, Real, Section, listed, one_of

MAX_DEPTH: Final = 64
MAX_LAYER: Final = 1_000
"""No network has so many measured layers."""

Activation = Annotated[str, AfterValidator(one_of(names.ACTIVATIONS)), listed(names.ACTIVATIONS)]
Kind = Annotated[str, AfterValidator(one_of(names.NETWORK_KINDS)), listed(names.NETWORK_KINDS)]


def _norm(name: str) -> str:
    """A normalisation; one that is left out on purpose is refused with the reason."""
    if name not in names.NORMS and (why := why_not(name)) is not None:
        raise ValueError(why)
    return one_of(names.NORMS)(name)


Norm = Annotated[str, AfterValidator(_norm), listed(names.NORMS)]
Padding = Annotated[str, AfterValidator(one_of(names.PADDINGS)), listed(names.PADDINGS)]
Parameterization = Annotated[str, AfterValidator(one_of(names.PARAMETERIZATIONS)), listed(names.PARAMETERIZATIONS)]
Pool = Annotated[str, AfterValidator(one_of(names.POOLS)), listed(names.POOLS)]
Positions = Annotated[str, AfterValidator(one_of(names.POSITIONS)), listed(names.POSITIONS)]
Readout = Annotated[str, AfterValidator(one_of(names.READOUTS)), listed(names.READOUTS)]
Width = Annotated[Count, Field(ge=1, le=65_536)]


def _within_limits(layers: list[Any]) -> list[Any]:
    """Too many layers, or too deep ones, are refused before anything walks down into them."""
    try:
        check_limits(layers)
    except GraphError as error:
        raise ValueError(error.told) from None
    return layers


class NetworkSettings(Section):
    """A network without activation on its output; a setting that its kind does not read is refused."""

    kind: Kind = Field(
        "mlp",
        description="mlp: fully connected; resmlp: fully connected with residual connections; convnet: convolutions; "
        "transformer: attention; graph: the layers listed under `layers`.",
    )
    depth: Count = Field(
        3,
        ge=1,
        le=MAX_DEPTH,
        description="mlp, resmlp: number of linear maps L; convnet: depth - 1 convolutions and a linear map; "
        "transformer: number of blocks.",
    )
    width: Width | Annotated[list[Width], Field(fail_fast=True)] = Field(
        16,
        description="mlp: hidden width, one number, or one per hidden layer (depth - 1 numbers); resmlp, transformer: "
        "one number.",
    )
    activation: Activation = Field(
        "linear", description="Activation of the hidden layers; transformer: of its MLPs, where left out gelu."
    )
    slope: Real = Field(0.1, description="Negative slope of leaky_relu.")
    bias: bool = Field(False, description="Whether layers have biases.")
    norm: Norm = Field(
        "none",
        description="resmlp, convnet, transformer: normalisation between maps; transformer, where left out, layer.",
    )
    skip: bool = Field(True, description="resmlp: whether hidden maps have residual connections.")
    channels: Width = Field(16, description="convnet: channels of every convolution.")
    kernel: Count = Field(3, ge=1, le=1_024, description="convnet: side of the square kernels.")
    stride: Count = Field(1, ge=1, le=1_024, description="convnet: of every convolution.")
    padding: Padding = Field("same", description="convnet: zeros around the image, or none.")
    pool: Pool = Field("average", description="convnet: of the whole image, before the linear map; none: flattened.")
    heads: Count = Field(1, ge=1, le=65_536, description="transformer: of each attention; divides the width.")
    mlp_width: Width | None = Field(None, description="transformer: hidden width of its MLPs; null: 4 width.")
    positions: Positions = Field("learned", description="transformer: vectors added to the tokens, or none.")
    causal: bool = Field(False, description="transformer: whether a token sees only those before it.")
    readout: Readout = Field("mean", description="transformer: how tokens become one vector for the last linear map.")
    layers: Annotated[list[Any], AfterValidator(_within_limits)] | None = Field(
        None,
        description="graph: its layers in forward order, as [{conv: {channels: 8, kernel: 3, name: c1}}, relu, "
        "flatten, {linear: {name: head}}].",
    )
    parameterization: Parameterization = Field("standard", description="Scaling of the layers.")

    @model_validator(mode="after")
    def _widths_fit(self) -> Self:
        if self.kind == "mlp" and isinstance(self.width, list) and len(self.width) != self.depth - 1:
            raise ValueError(
                f"width lists {len(self.width)} hidden layers, but depth {self.depth} has {self.depth - 1}: "
                "give one number for all of them or one per hidden layer"
            )
        return self

    @model_validator(mode="after")
    def _layers_given(self) -> Self:
        if self.kind == "graph" and self.layers is None:
            raise ValueError(
                "kind graph needs layers: a list such as [{linear: 32}, relu, {linear: {}}], the last one with the "
                "data's number of outputs"
            )
        return self

    @property
    def hidden_widths(self) -> list[int]:
        """mlp: width of each hidden layer, depth - 1 numbers."""
        return self.width if isinstance(self.width, list) else [self.width] * (self.depth - 1)

    @property
    def read_activation(self) -> str:
        """The activation; a transformer that is not told one has gelu."""
        return "gelu" if self._has_own_default("activation") else self.activation

    @property
    def read_norm(self) -> str:
        """The normalisation; a transformer that is not told one has layer."""
        return "layer" if self._has_own_default("norm") else self.norm

    def _has_own_default(self, field: str) -> bool:
        return self.kind == "transformer" and field not in self.model_fields_set
