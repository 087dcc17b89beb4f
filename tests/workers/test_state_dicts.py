"""What torch.nn.Sequential calls its parameters is read as the network's own, in the order of the modules."""

from torch import nn

from nfa_kernels.graphs.state_dicts import by_own_names, mlp_names
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


def test_modules_are_ordered_by_number_and_other_names_stay():
    shapes = {f"{number}.weight": number for number in (10, 2, 0)}
    assert by_own_names(shapes, mlp_names(3, 3)) == {"w1": 0, "w2": 2, "w3": 10}
    for other in ({"w1": 1, "0.weight": 2}, {"0.weight": 1}, {"a.weight": 1, "b.weight": 2}):
        assert by_own_names(other, mlp_names(2, 2)) == other
