"""What torch.nn.Sequential calls its parameters is read as the network's own, in the order of the modules."""

from typing import Any

import pytest
import torch
from torch import nn

from nfa_kernels.data import make_data
from nfa_kernels.graphs.graph import Input, graph
from nfa_kernels.graphs.state_dicts import by_own_names, mlp_names, third_of_array, third_of_shape
from nfa_kernels.programs.graph_program import GraphProgram
from service.grid.expansion import expand
from workers.blocks import Lane, Stack
from workers.kept_weights import decoded
from workers.training import train

LAYERS = [{"conv": {"channels": 3, "kernel": 3, "bias": True}}, "relu", "flatten", {"linear": {"name": "head"}}]


def _first_weights(network, data, module):
    given = {name: array.double().numpy() for name, array in module.state_dict().items()}
    init = {"scheme": "given", "weights_id": "d1"}
    measure = {"weights": [0], "points": 1}
    document = {"trial": {"network": network, "data": data, "init": init, "training": {"steps": 0}, "measure": measure}}
    (point,) = expand(document, datasets={"d1": {name: array.shape for name, array in given.items()}}).points
    kept = [
        content for block in train(Stack((Lane(point.settings, 0),), {"d1": given})) for *_, content in block.weights
    ]
    return decoded(kept[0])[0], list(given.values())


def test_a_convolutional_network_begins_where_the_module_is():
    module = nn.Sequential(nn.Conv2d(1, 3, 3, padding="same"), nn.ReLU(), nn.Flatten(), nn.Linear(192, 10, bias=False))
    data = {"kind": "digits", "layout": "image", "samples": 4}
    found, given = _first_weights({"kind": "graph", "layers": LAYERS}, data, module)
    assert list(found) == ["conv1.weight", "conv1.bias", "head.weight"]
    assert all((one == two).all() for one, two in zip(found.values(), given, strict=True))


def test_a_fully_connected_one_does_too():
    module = nn.Sequential(nn.Linear(10, 16), nn.Tanh(), nn.Sequential(nn.Linear(16, 4)))
    found, given = _first_weights({"depth": 2, "activation": "tanh", "bias": True}, {"samples": 4}, module)
    assert list(found) == ["w1", "w2", "b1", "b2"]
    assert all((found[name] == array).all() for name, array in zip(("w1", "b1", "w2", "b2"), given, strict=True))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("called", ["3", "mixing"])
def test_an_attention_of_torch_begins_as_its_four_maps(called, bias):
    """Its outputs are torch's: by the module's number in a sequence, and by the layer's name."""
    embedding, attention, head = (
        nn.Embedding(5, 6),
        nn.MultiheadAttention(6, 2, bias=bias, batch_first=True),
        nn.Linear(6, 5),
    )
    layers: list[Any] = [{"embedding": 6}, "tanh", {"attention": {"heads": 2, "name": "mixing", "bias": bias}}]
    layers += [{"readout": "mean"}, {"linear": {"name": "head", "bias": True}}]
    if called == "mixing":
        module: nn.Module = nn.ModuleDict({"embedding1": embedding, "mixing": attention, "head": head})
    else:
        module = nn.Sequential(embedding, nn.Tanh(), attention, head)
    if bias:
        nn.init.normal_(attention.in_proj_bias)
    data = {"kind": "modular_addition", "modulus": 5, "encoding": "tokens", "seed": 1}
    network = {"kind": "graph", "layers": layers}
    found, _ = _first_weights(network, data, module)
    assert list(found)[1] == "mixing.query.weight" and len(found) == 3 + 4 * (1 + bias)
    made = make_data("modular_addition", 1, modulus=5, encoding="tokens")
    program = GraphProgram(graph(layers, Input((2,), 5), 5))
    params = [torch.tensor(array)[None] for array in found.values()]
    params = tuple(one.reshape(1, *of.matrix) for one, of in zip(params, program.parameters, strict=True))
    hidden = torch.tanh(embedding.double()(made.x.long()))
    wanted = head.double()(attention.double()(hidden, hidden, hidden)[0].mean(1)).detach()
    torch.testing.assert_close(program.forward(params, made.x[None])[0], wanted, rtol=1e-12, atol=1e-12)


TOKENS: dict[str, Any] = {"kind": "modular_addition", "modulus": 5, "encoding": "tokens", "seed": 1}


def _outputs(layers, found):
    program = GraphProgram(graph(layers, Input((2,), 5), 5))
    params = [torch.tensor(array)[None] for array in found.values()]
    params = tuple(one.reshape(1, *of.matrix) for one, of in zip(params, program.parameters, strict=True))
    x = make_data("modular_addition", 1, modulus=5, encoding="tokens").x
    return x.long(), program.forward(params, x[None])[0]


def _block(norm_first, at):
    attention = {"attention": {"heads": 2, "bias": True, "name": f"mix{at}"}}
    maps = [{"linear": {"units": 10, "bias": True}}, "gelu", {"linear": {"units": 6, "bias": True}}]
    if norm_first:
        return [{"residual": [{"norm": "layer"}, attention]}, {"residual": [{"norm": "layer"}, *maps]}]
    return [{"residual": [attention]}, {"norm": "layer"}, {"residual": maps}, {"norm": "layer"}]


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("called", ["by number", "by name"])
def test_an_encoder_of_torch_begins_as_the_graph_that_it_is(norm_first, called):
    one = nn.TransformerEncoderLayer(6, 2, 10, 0.0, "gelu", batch_first=True, norm_first=norm_first)
    last = nn.LayerNorm(6) if norm_first else None
    encoder = nn.TransformerEncoder(one, 2, last, enable_nested_tensor=False)
    embedding, head = nn.Embedding(5, 6), nn.Linear(6, 5)
    module = nn.Sequential(embedding, encoder, head)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.5 if parameter.ndim == 1 else 0.0, 0.5)
    names = {"embedding1": embedding, "encoder": encoder, "head": head}
    layers: list[Any] = [{"embedding": 6}, *_block(norm_first, 1), *_block(norm_first, 2)]
    layers += [{"norm": "layer"}] if norm_first else []
    layers += [{"readout": "mean"}, {"linear": {"name": "head", "bias": True}}]
    network = {"kind": "graph", "layers": layers}
    found, given = _first_weights(network, TOKENS, module if called == "by number" else nn.ModuleDict(names))
    assert len(found) == len(given) + 2 * 2 * 2, "an in_proj is three arrays"
    x, outputs = _outputs(layers, found)
    wanted = head.double()(encoder.double()(embedding.double()(x)).mean(1)).detach()
    torch.testing.assert_close(outputs, wanted, rtol=1e-11, atol=1e-11)


def test_the_kind_transformer_begins_as_an_encoder_that_normalises_first():
    one = nn.TransformerEncoderLayer(6, 2, 10, 0.0, "relu", batch_first=True, norm_first=True)
    encoder = nn.TransformerEncoder(one, 1, nn.LayerNorm(6), enable_nested_tensor=False)
    module = nn.ModuleDict({"embedding1": nn.Embedding(5, 6), "encoder": encoder, "linear3": nn.Linear(6, 5)})
    network = {"kind": "transformer", "depth": 1, "width": 6, "heads": 2, "mlp_width": 10, "norm": "layer"}
    network |= {"activation": "relu", "bias": True, "positions": "none"}
    found, _ = _first_weights(network, TOKENS, module)
    state = encoder.layers[0].double().state_dict()
    assert (found["linear2.weight"] == state["linear2.weight"].numpy()).all()
    assert (found["norm2.bias"] == state["norm2.bias"].numpy()).all()
    assert (found["attention1.key.weight"] == state["self_attn.in_proj_weight"][6:12].numpy()).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"encoder.layers.0.linear2.bias": None},
        {"decoder.layers.0.self_attn.in_proj_weight": (9, 3)},
        {"encoder.layers.0.multihead_attn.out_proj.weight": (3, 3)},
    ],
)
def test_an_encoder_that_the_network_is_not_keeps_its_names(wrong):
    """So that a refusal tells them."""
    parts = {"self_attn.in_proj_weight": (9, 3), "self_attn.out_proj.weight": (3, 3), "linear2.bias": (3,)}
    parts |= dict.fromkeys(("linear1.weight", "linear2.weight"), (3, 3)) | dict.fromkeys(("norm1.weight",), (3,))
    given: dict[str, Any] = {f"encoder.layers.0.{name}": shape for name, shape in parts.items()} | wrong
    given = {name: shape for name, shape in given.items() if shape is not None}
    needed = ["norm1.weight", *(f"a.{part}.weight" for part in ("query", "key", "value", "output"))]
    needed += ["linear1.weight", "linear2.weight", "linear2.bias"]
    assert "encoder.layers.0.linear2.weight" in by_own_names(given, needed, third_of_shape)


def test_arrays_that_are_no_three_maps_keep_their_names():
    for other in ({"a.in_proj_weight": (7, 2)}, {"a.in_proj_weight": ()}, {"a.out_proj.weight": (2, 2)}):
        assert by_own_names(other, ["a.query.weight"], third_of_shape) == other


def test_modules_are_ordered_by_number_and_other_names_stay():
    shapes = {f"{number}.weight": number for number in (10, 2, 0)}
    assert by_own_names(shapes, mlp_names(3, 3), third_of_array) == {"w1": 0, "w2": 2, "w3": 10}
    for other in ({"w1": 1, "0.weight": 2}, {"0.weight": 1}, {"a.weight": 1, "b.weight": 2}):
        assert by_own_names(other, mlp_names(2, 2), third_of_array) == other
