"""Leading eigenspaces against each other and against what a teacher's targets depend on."""

import math

import pytest
import reference
import torch
from builders import data, lane, stacked

from nfa_kernels.data import DATA, make_data
from nfa_kernels.data.teachers import DIRECTIONS, stacked_directions, teacher_directions
from nfa_kernels.graphs.graph import Input, graph
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture
from nfa_kernels.programs.graph_program import GraphProgram
from nfa_kernels.programs.measuring import measure_program, program_data
from nfa_kernels.spectra import spectrum
from nfa_kernels.subspaces import gram_agop_subspace, teacher_overlap

SETTINGS = {
    "linear_teacher": {"inputs": 6, "outputs": 3, "spectrum": (2.0, 0.0, 1.0)},
    "single_index": {"inputs": 6, "link": "tanh"},
    "multi_index": {"inputs": 6, "outputs": 3, "directions": 2, "link": "tanh"},
    "sparse_parity": {"inputs": 6, "order": 2},
    "conv_teacher": {"channels": 2, "size": 4, "patch": 2, "filters": 3, "outputs": 3, "link": "tanh"},
}


def _family(measured):
    return {(layer, name): values for layer, name, values in measured.parametrised}


@pytest.mark.parametrize("kind", SETTINGS)
def test_targets_change_along_the_teachers_directions_alone(kind):
    """Moved across all of them, inputs keep their targets; moved along one they do not, but of a parity's halves."""
    settings = SETTINGS[kind]
    directions = teacher_directions(kind, 5, samples=50, noise=0.0, test_samples=0, **settings)
    torch.testing.assert_close(directions.mT @ directions, torch.eye(directions.shape[1], dtype=torch.float64))
    noiseless = {} if kind == "sparse_parity" else {"noise": 0.0}
    drawn = make_data(kind, 5, samples=400, **noiseless, **settings)
    if kind == "conv_teacher":
        # the mean outer product of gradients at patches: a linear fit of targets on pooled links of the projections
        patches = torch.nn.functional.unfold(drawn.x, 2)
        features = torch.tanh(directions.mT @ patches).sum(-1)
        left = torch.linalg.lstsq(features, drawn.y).solution
        torch.testing.assert_close(features @ left, drawn.y, rtol=1e-9, atol=1e-9)
        return
    along = drawn.x @ directions
    if kind == "sparse_parity":
        assert torch.equal(along.prod(1, keepdim=True), drawn.y)
    elif kind == "linear_teacher":
        torch.testing.assert_close(along @ torch.linalg.lstsq(along, drawn.y).solution, drawn.y)
    else:
        features = torch.tanh(along)
        torch.testing.assert_close(features @ torch.linalg.lstsq(features, drawn.y).solution, drawn.y)


def test_kinds_without_a_teacher_have_no_directions():
    assert {*DIRECTIONS} < {*DATA}
    for kind in DATA:
        found = teacher_directions(kind, 0)
        assert (found.numel() == 0) == (kind not in DIRECTIONS)


def test_networks_of_a_stack_may_have_teachers_of_different_rank():
    parts = [teacher_directions("multi_index", seed, inputs=5, directions=rank) for seed, rank in ((0, 2), (1, 3))]
    teacher = stacked_directions(parts)
    assert teacher.shape == (2, 5, 3) and teacher[0, :, 2].eq(0).all()
    factor = torch.stack(
        [
            torch.diag(torch.tensor([5.0, 4, 3, 2, 1], dtype=torch.float64)) @ frame.mT
            for frame in (torch.linalg.qr(torch.cat([part, torch.eye(5, dtype=torch.float64)], 1)).Q for part in parts)
        ]
    )
    for r, wanted in ((1, [1, 1]), (2, [1, 1]), (3, [1, 1]), (4, [1, 1]), (5, [1, 1])):
        assert teacher_overlap(spectrum(factor), teacher, r).tolist() == pytest.approx(wanted, rel=1e-12)
    assert stacked_directions([torch.zeros(4, 1), torch.zeros(5, 1)]).numel() == 0


@pytest.mark.parametrize("r", [1, 2, 3])
@pytest.mark.parametrize("activation", ["linear", "relu", "tanh"])
def test_both_families_equal_the_reference(activation, r):
    widths, (x, y) = (6, 8, 7, 3), data(3, 30, 6, 3)
    weights = stacked("he", widths, range(3))
    teacher = stacked_directions([teacher_directions("multi_index", k, inputs=6, directions=2) for k in range(3)])
    prepared = measured_data(Architecture(widths, activation), x, y, x[:, :0], y[:, :0], "half")
    request = Request((f"gram_agop_subspace@{r}", f"teacher_overlap@{r}"), (1, 2, 3))
    given = prepared._replace(teacher=teacher)
    found = _family(measure(Architecture(widths, activation), weights, given, request, "half"))
    for k in range(3):
        network = lane(weights, k)
        for layer in (1, 2, 3):
            values, vectors = reference.agop(network, x[k].numpy(), activation, layer)
            agop, gram = reference.power(values, vectors, 1.0), network[layer - 1].T @ network[layer - 1]
            wanted = reference.subspace_overlap(gram, agop, r)
            assert found[layer, f"gram_agop_subspace@{r}"][k].item() == pytest.approx(wanted, rel=1e-9)
            overlap = found[layer, f"teacher_overlap@{r}"][k].item()
            if layer == 1:
                own = teacher[k].numpy()
                wanted = reference.subspace_overlap_with(agop, own, r)
                assert overlap == pytest.approx(wanted, rel=1e-9)
            else:
                assert math.isnan(overlap)


def test_a_subspace_that_is_not_determined_is_undefined():
    tied = spectrum(torch.diag(torch.tensor([2.0, 1, 1, 0.5], dtype=torch.float64))[None])
    apart = spectrum(torch.diag(torch.tensor([4.0, 3, 2, 1], dtype=torch.float64))[None])
    thin = spectrum(torch.tensor([[[1.0, 0, 0, 0]]], dtype=torch.float64))
    assert [gram_agop_subspace(tied, apart, r).item() for r in (1, 3, 4)] == pytest.approx([1, 1, 1])
    assert gram_agop_subspace(tied, apart, 2).isnan() and gram_agop_subspace(apart, tied, 2).isnan()
    assert gram_agop_subspace(thin, apart, 1).item() == 1 and gram_agop_subspace(thin, apart, 2).isnan()
    assert gram_agop_subspace(apart, apart, 5).isnan()
    teacher = torch.eye(4, dtype=torch.float64)[None, :, :2]
    assert teacher_overlap(tied, teacher, 2).isnan() and teacher_overlap(apart, teacher, 2).item() == 1
    assert teacher_overlap(apart, teacher, 1).item() == teacher_overlap(apart, teacher, 4).item() == 1
    for other in (teacher[:, :3], teacher[:, :, :0], 0 * teacher):
        assert teacher_overlap(apart, other, 2).isnan()


@pytest.mark.parametrize(
    ("layers", "is_defined"),
    [
        ([{"conv": {"channels": 4, "kernel": 2}}, "tanh", {"pool": "global"}, {"linear": {}}], True),
        ([{"conv": {"channels": 4, "kernel": 3}}, "tanh", {"pool": "global"}, {"linear": {}}], False),
        (["tanh", {"conv": {"channels": 4, "kernel": 2}}, {"pool": "global"}, {"linear": {}}], False),
    ],
)
def test_a_convolution_is_compared_with_a_teacher_of_its_patches(layers, is_defined):
    program = GraphProgram(graph(layers, Input((2, 4, 4)), 3))
    drawn = make_data("conv_teacher", 5, samples=40, **SETTINGS["conv_teacher"])
    x, y = drawn.x[None], drawn.y[None]
    params = [part[None] for part in program.initial("he", 0)]
    directions = teacher_directions("conv_teacher", 5, **SETTINGS["conv_teacher"])
    if is_defined:
        # filters of the teacher's subspace alone see nothing else
        params[0] = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(0)).double() @ directions.mT
    prepared = program_data(program, x, y, x[:, :0], y[:, :0], "half")._replace(teacher=directions[None])
    request = Request(("teacher_overlap@3",), tuple(one.number for one in program.measured))
    found = _family(measure_program(program, tuple(params), prepared, request, "half"))
    if is_defined:
        assert found[1, "teacher_overlap@3"].item() == pytest.approx(1, rel=1e-10)
    else:
        assert found[1, "teacher_overlap@3"].isnan()
    assert found[2, "teacher_overlap@3"].isnan()


@pytest.mark.parametrize("scale", [1e-150, 1e-103, 1e-60, 1e60, 1e103, 1e150])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_they_do_not_see_the_scale_of_the_weights(activation, scale):
    widths, (x, y) = (6, 8, 3), data(2, 30, 6, 3)
    weights, architecture = stacked("he", widths, (0, 1)), Architecture(widths, activation)
    teacher = stacked_directions([teacher_directions("multi_index", k, inputs=6) for k in range(2)])
    prepared = measured_data(architecture, x, y, x[:, :0], y[:, :0], "half")._replace(teacher=teacher)
    request = Request(("gram_agop_subspace@2", "teacher_overlap@2"), (1, 2))
    wanted = _family(measure(architecture, weights, prepared, request, "half"))
    found = _family(measure(architecture, tuple(scale * w for w in weights), prepared, request, "half"))
    for key, values in found.items():
        right = torch.isclose(values, wanted[key], rtol=1e-9, atol=0) | values.isnan()
        assert right.all(), (key, values, wanted[key])
        if activation == "linear":
            assert values.isnan().equal(wanted[key].isnan())


def test_a_network_has_the_same_bits_alone_and_in_a_stack():
    widths, (x, y) = (6, 8, 3), data(40, 20, 6, 3)
    weights, architecture = stacked("he", widths, range(40)), Architecture(widths, "gelu")
    teacher = stacked_directions([teacher_directions("single_index", k, inputs=6) for k in range(40)])
    metrics = ("pearson_half", "pearson_half_zero_diagonal", *(f"gram_agop_subspace@{r}" for r in (1, 2)))
    request = Request((*metrics, "teacher_overlap@1", "teacher_overlap@2"), (1, 2))

    def of(index: slice) -> dict:
        prepared = measured_data(architecture, x[index], y[index], x[index, :0], y[index, :0], "half")
        some = tuple(weight[index] for weight in weights)
        found = measure(architecture, some, prepared._replace(teacher=teacher[index]), request, "half")
        plain = {(layer, name): value for layer, of in found.layers.items() for name, value in of.items()}
        return plain | _family(found)

    together = of(slice(None))
    for k in (0, 17, 39):
        for key, values in of(slice(k, k + 1)).items():
            assert torch.equal(values.nan_to_num(-9), together[key][k : k + 1].nan_to_num(-9)), key
