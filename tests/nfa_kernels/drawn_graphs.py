"""Graphs of layers as hypothesis draws them."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from nfa_kernels.graphs.graph import Input


@st.composite
def networks(draw: st.DrawFn, activations: Sequence[str], largest: int = 4) -> tuple[Input, list[Any]]:
    """Small graphs of every kind of layer, with the data they fit.

    Args:
        draw: of hypothesis.
        activations: names of theirs.
        largest: of their sizes, about.
    """
    start = draw(st.sampled_from(("vector", "image", "tokens", "numbers")))
    size, bias = st.integers(1, largest), st.booleans()
    activation = st.sampled_from(activations)
    layers: list[Any] = []
    if start == "vector":
        found = Input((draw(size),))
    elif start == "image":
        found, channels = Input((draw(size), draw(st.integers(4, 6)), draw(st.integers(4, 6)))), 2 * draw(size)
        kernel = st.integers(1, 3)
        conv = {"channels": channels, "kernel": draw(kernel), "stride": draw(st.integers(1, 2)), "bias": draw(bias)}
        layers.append({"conv": conv | {"padding": draw(st.sampled_from(("same", "valid")))}})
        norms = st.sampled_from(("layer", "rms", {"kind": "group", "groups": 2}))
        layers.append({"residual": [{"norm": draw(norms)}, {"conv": {"channels": channels, "kernel": 1}}]})
        layers.append(draw(activation))
        kind = draw(st.sampled_from(("average", "max")))
        layers.append(draw(st.sampled_from((*({"pool": {"kind": kind, "size": n}} for n in (1, "global")), "flatten"))))
        layers += ["flatten"]
    else:
        width = 2 * draw(size)
        found = Input((draw(size),), 5) if start == "numbers" else Input((draw(size), draw(size)))
        layers.append({"embedding": width} if start == "numbers" else {"linear": width})
        layers += draw(st.sampled_from(([], [{"positions": "learned"}])))
        attention = {"heads": draw(st.sampled_from((1, 2))), "causal": draw(bias), "bias": draw(bias)}
        norm = draw(st.sampled_from(("layer", "rms", {"kind": "group", "groups": 2})))
        layers += [{"residual": [{"norm": norm}, {"attention": attention}]}, {"linear": 3}, draw(activation)]
        layers.append({"readout": draw(st.sampled_from(("mean", "last", "flatten")))})
    units = draw(size)
    layers += [{"linear": {"units": units, "bias": draw(bias)}}, draw(activation)]
    inner = [{"residual": [{"linear": units}]}, draw(activation)]
    layers += draw(st.sampled_from(([], [{"residual": inner}], [{"residual": inner}, {"norm": "layer"}])))
    return found, [*layers, {"linear": {"bias": draw(bias)}}]
