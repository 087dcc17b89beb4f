"""Every kind of data: what its formula says, what repeats, and what is refused."""

import itertools
import math

import pytest
import torch

from nfa_kernels import names
from nfa_kernels.data import DATA, make_data
from nfa_kernels.data.conv_teacher import POOLINGS
from nfa_kernels.data.index_models import LINKS
from nfa_kernels.initialisations import initial_weights
from nfa_kernels.losses import check_targets, loss_of
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture

MADE = sorted(set(DATA) - {"uploaded"})


def test_names_and_registries_agree():
    assert set(DATA) == set(names.DATA_KINDS) and tuple(LINKS) == names.LINKS and tuple(POOLINGS) == names.POOLINGS


@pytest.mark.parametrize("kind", MADE)
def test_every_kind_repeats_and_draws_other_numbers_for_another_seed(kind):
    one, again, other = make_data(kind, 3), make_data(kind, 3), make_data(kind, 4)
    for part in ("x", "y", "x_test", "y_test"):
        assert torch.equal(getattr(one, part), getattr(again, part))
        assert getattr(one, part).dtype == torch.float64
    assert one.x.shape[0] == one.y.shape[0] > 0 and one.x_test.shape[0] == one.y_test.shape[0]
    assert (one.x_test.shape[0] == 0) == (kind != "modular_addition")
    assert torch.equal(one.x, other.x) == (kind == "clusters")


@pytest.mark.parametrize("kind", [kind for kind in MADE if "samples" in names.DATA_KINDS[kind]])
def test_more_samples_of_a_test_set_leave_the_training_set_as_it_was(kind):
    plain, tested = make_data(kind, 1, samples=40), make_data(kind, 1, samples=40, test_samples=25)
    assert torch.equal(plain.x, tested.x) and torch.equal(plain.y, tested.y)
    assert tested.x_test.shape == (25, *plain.x.shape[1:]) and tested.y_test.shape == (25, plain.y.shape[1])


@pytest.mark.parametrize(
    ("strengths", "counts", "exponents", "wanted"),
    [
        ((4.0, 1.0, 1.0, 1.0), (1, 16, 16, 16), (0.5, 1.0), 0.8029550686),
        ((4.0, 2.0, 1.0, 1.0), (1, 4, 16, 16), (0.5, 1.0), 0.8528028654),
        ((1.0, 1.0, 1.0, 1.0), (8, 4, 2, 1), (0.5,), 0.935021),
        ((1.0, 1.0, 1.0, 1.0), (8, 4, 2, 1), (1.0,), 0.813489),
    ],
)
def test_the_constructed_network_fits_its_clusters_and_violates_the_ansatz(strengths, counts, exponents, wanted):
    data = make_data("clusters", 0, strengths=strengths, counts=counts, offset=0.25)
    root = torch.diag(torch.tensor(strengths, dtype=torch.float64).sqrt()).unsqueeze(0)
    architecture = Architecture((4, 4, 4), "relu")
    x, y = data.x.unsqueeze(0), data.y.unsqueeze(0)
    prepared = measured_data(architecture, x, y, x[:, :0], y[:, :0], "half")
    asked = Request(("train_loss", "imbalance"), (1,), exponents)
    found = measure(architecture, (root, root), prepared, asked._replace(metrics=("alignment", *asked.metrics)), "half")
    assert found.network["train_loss"].item() < 1e-28 and found.network["imbalance"].item() < 1e-14
    for _, name, value in found.parametrised:
        assert value.item() == pytest.approx(wanted, abs=1e-6), name


def test_index_models_are_functions_of_their_directions_alone():
    single = make_data("single_index", 0, samples=500, inputs=6, link="hermite3", noise=0.0)
    assert single.y.shape == (500, 1)
    multi = make_data("multi_index", 0, samples=4000, inputs=6, outputs=3, directions=2, link="quadratic", noise=0.0)
    # E[y x x^T] - E[y] I has the span of the directions as its range
    for output in range(3):
        moment = (multi.x * multi.y[:, output : output + 1]).mT @ multi.x / 4000
        moment = moment - multi.y[:, output].mean() * torch.eye(6, dtype=torch.float64)
        values = torch.linalg.eigvalsh(moment).abs().sort(descending=True).values
        assert values[2] < 0.25 * values[0]


@pytest.mark.parametrize("link", ["hermite2", "hermite3"])
def test_hermite_links_have_mean_zero_and_variance_one(link):
    z = torch.randn(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value = LINKS[link](z)
    assert value.mean().item() == pytest.approx(0, abs=0.02) and value.var().item() == pytest.approx(1, rel=0.1)


def test_parity_is_the_product_of_as_many_signs_as_asked():
    data = make_data("sparse_parity", 2, samples=400, inputs=8, order=3)
    assert set(data.x.unique().tolist()) == set(data.y.unique().tolist()) == {-1.0, 1.0}
    correlated = [
        bool((data.x[:, list(chosen)].prod(1) == data.y[:, 0]).all())
        for chosen in torch.combinations(torch.arange(8), 3).tolist()
    ]
    assert sum(correlated) == 1


def test_digits_are_scikit_learns_without_repetition():
    data = make_data("digits", 0, samples=1000, test_samples=797)
    assert data.x.min() == 0 and data.x.max() == 1 and data.y.sum(1).eq(1).all()
    assert torch.cat([data.x, data.x_test]).unique(dim=0).shape[0] >= 1790


@pytest.mark.parametrize(
    ("kind", "settings", "told"),
    [
        ("clusters", {"strengths": (1.0,), "counts": (1, 2)}, "counts: received 2 for 1 strengths"),
        ("clusters", {"counts": (1, 0, 2)}, "counts: received 0"),
        ("single_index", {"link": "cubic"}, "link: received 'cubic', allowed are relu"),
        ("multi_index", {"directions": 11}, "columns: received 11"),
        ("sparse_parity", {"order": 11}, "order: received 11, allowed are 1 .. inputs = 10"),
        ("digits", {"samples": 1798}, "received 1798"),
        ("digits", {"layout": "square"}, "layout: received 'square', allowed are flat, image"),
        ("digits", {"samples": 1700, "test_fraction": 0.1}, r"received 1700 \+ 180"),
        ("iris", {"test_samples": 150}, "test_samples: received 150, allowed are 0 .. 149 of the 150 rows of iris"),
        ("iris", {"test_samples": 5, "test_fraction": 0.5}, "beside test_samples 5; give one"),
        ("wine", {"test_fraction": 0.001}, "test_fraction: received 0.001 of 178 rows"),
        ("modular_addition", {"modulus": 1}, "modulus: received 1"),
        ("modular_addition", {"fraction": 1.5}, "fraction: received 1.5"),
        ("modular_addition", {"encoding": "token"}, "encoding: received 'token', allowed are one_hot, tokens"),
        ("conv_teacher", {"patch": 9}, "patch: received 9, allowed are 1 .. size = 8"),
        ("conv_teacher", {"filters": 10}, r"filters: received 10, allowed are 1 .. channels patch\^2 = 9"),
        ("conv_teacher", {"pooling": "min"}, "pooling: received 'min', allowed are sum, mean, max"),
        ("digit", {}, "kind: received 'digit'"),
    ],
)
def test_settings_that_do_not_fit_are_refused_by_name(kind, settings, told):
    with pytest.raises(ValueError, match=told):
        make_data(kind, 0, **settings)


def test_neuron_balanced_hidden_units_pass_on_the_norm_that_they_receive():
    weights = initial_weights("neuron_balanced", (5, 9, 7, 3), 0, scale=0.3)
    for below, above in itertools.pairwise(weights):
        torch.testing.assert_close(below.norm(dim=1), above.norm(dim=0), rtol=1e-13, atol=0)
    assert weights[0].var().item() == pytest.approx(0.3**2 / 5, rel=0.5)


def test_losses_of_the_zero_function_are_the_entropies():
    outputs = torch.zeros(2, 6, 4, dtype=torch.float64)
    targets = torch.nn.functional.one_hot(torch.arange(6) % 4, 4).double().expand(2, 6, 4)
    torch.testing.assert_close(loss_of("cross_entropy").value(outputs, targets), torch.full((2,), math.log(4)).double())
    torch.testing.assert_close(loss_of("logistic").value(outputs, targets), torch.full((2,), 4 * math.log(2)).double())


def test_extreme_logits_stay_finite():
    outputs = torch.tensor([[[1e4, -1e4], [-1e4, 1e4]]], dtype=torch.float64)
    targets = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]], dtype=torch.float64)
    for name, wanted in (("cross_entropy", 1e4), ("logistic", 1e4)):
        loss = loss_of(name)
        assert loss.value(outputs, targets).item() == pytest.approx(wanted, rel=1e-12)
        assert loss.gradient(outputs, targets).isfinite().all()


def test_minus_one_and_zero_name_the_same_class_for_logistic():
    outputs = torch.randn(1, 5, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0, -1.0], dtype=torch.float64).view(1, 5, 1)
    loss = loss_of("logistic")
    torch.testing.assert_close(loss.value(outputs, signs), loss.value(outputs, (signs + 1) / 2))


def test_targets_that_name_no_class_are_refused():
    with pytest.raises(ValueError, match="cross_entropy needs at least two outputs and class probabilities"):
        check_targets("cross_entropy", torch.tensor([[[0.5, 0.6]]]))
    with pytest.raises(ValueError, match="logistic needs numbers"):
        check_targets("logistic", torch.tensor([[[2.0]]]))
