"""A slow, independent NumPy float64 reference: one network at a time, loops over samples, no shared code."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray
_erf = np.vectorize(math.erf)

ACTIVATIONS: dict[str, tuple[Callable[[Array], Array], Callable[[Array], Array]]] = {
    "linear": (lambda z: z, np.ones_like),
    "relu": (lambda z: np.maximum(z, 0), lambda z: (z > 0).astype(float)),
    "leaky_relu": (lambda z: np.where(z > 0, z, 0.1 * z), lambda z: np.where(z > 0, 1.0, 0.1)),
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "gelu": (
        lambda z: z * 0.5 * (1 + _erf(z / math.sqrt(2))),
        lambda z: 0.5 * (1 + _erf(z / math.sqrt(2))) + z * np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi),
    ),
    "silu": (lambda z: z / (1 + np.exp(-z)), lambda z: 1 / (1 + np.exp(-z)) * (1 + z / (1 + np.exp(z)))),
    "softplus": (lambda z: np.log1p(np.exp(z)), lambda z: 1 / (1 + np.exp(-z))),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    "erf": (_erf, lambda z: 2 / math.sqrt(math.pi) * np.exp(-(z**2))),
    "quadratic": (lambda z: z**2, lambda z: 2 * z),
}
FACTORS = {"half": lambda k: 0.5, "sum": lambda k: 1.0, "mse": lambda k: 1 / k}


def loss_of_sample(output: Array, target: Array, loss: str) -> tuple[float, Array]:
    """Loss of one sample and its gradient with respect to the output."""
    if loss == "cross_entropy":
        softmax = np.exp(output) / np.sum(np.exp(output))
        return -float(np.sum(target * np.log(softmax))), softmax * np.sum(target) - target
    if loss == "logistic":
        share = np.maximum(target, 0)
        return float(np.sum(np.log1p(np.exp(output)) - share * output)), 1 / (1 + np.exp(-output)) - share
    if loss == "huber":
        residual, delta = output - target[:-1], target[-1]
        far = np.abs(residual) > delta
        each = np.where(far, delta * (np.abs(residual) - delta / 2), residual**2 / 2)
        return float(np.sum(each)), np.where(far, delta * np.sign(residual), residual)
    factor = FACTORS[loss](len(target))
    return factor * float(np.sum((output - target) ** 2)), 2 * factor * (output - target)


def forward(weights: Sequence[Array], x: Array, activation: str) -> tuple[Array, list[Array]]:
    """Output of one sample and its pre-activations."""
    before, hidden = [], x
    for weight in weights[:-1]:
        before.append(weight @ hidden)
        hidden = ACTIVATIONS[activation][0](before[-1])
    return weights[-1] @ hidden, before


def loss_and_gradients(
    weights: Sequence[Array], xs: Array, ys: Array, activation: str, loss: str
) -> tuple[float, list[Array]]:
    """Loss and its gradients, sample by sample."""
    phi, slope = ACTIVATIONS[activation]
    total = 0.0
    found = [np.zeros_like(weight) for weight in weights]
    for x, y in zip(xs, ys, strict=True):
        output, before = forward(weights, x, activation)
        value, delta = loss_of_sample(output, y, loss)
        total, delta = total + value / len(xs), delta / len(xs)
        for layer in range(len(weights) - 1, -1, -1):
            below = phi(before[layer - 1]) if layer else x
            found[layer] += np.outer(delta, below)
            if layer:
                delta = (weights[layer].T @ delta) * slope(before[layer - 1])
    return total, found


def jacobian(weights: Sequence[Array], x: Array, activation: str, layer: int) -> Array:
    """df/dh_{l-1} of one sample, (k, d_{l-1})."""
    _, before = forward(weights, x, activation)
    product = weights[-1]
    for index in range(len(weights) - 2, layer - 2, -1):
        product = product * ACTIVATIONS[activation][1](before[index]) @ weights[index]
    return product


def agop(weights: Sequence[Array], xs: Array, activation: str, layer: int) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors of the AGOP on its range, through the stacked Jacobians."""
    stacked = np.concatenate([jacobian(weights, x, activation, layer) for x in xs]) / math.sqrt(len(xs))
    _, singular, transposed = np.linalg.svd(stacked, full_matrices=False)
    kept = singular > max(stacked.shape) * np.finfo(float).eps * singular[0]
    return singular[kept] ** 2, transposed[kept].T


def power(values: Array, vectors: Array, exponent: float) -> Array:
    return vectors * values**exponent @ vectors.T


def cosine(left: Array, right: Array) -> float:
    return float(np.sum(left * right) / np.linalg.norm(left) / np.linalg.norm(right))


def layer_metrics(weights: Sequence[Array], xs: Array, activation: str, layer: int) -> dict[str, float]:
    """Metrics of one layer from full matrices; the best exponent is left out."""
    values, vectors = agop(weights, xs, activation, layer)
    gram, exponent = weights[layer - 1].T @ weights[layer - 1], 1 / (len(weights) - layer + 1)
    root = power(values, vectors, exponent)
    return {
        "alignment": cosine(gram, root),
        "alignment_half": cosine(gram, power(values, vectors, 0.5)),
        "alignment_one": cosine(gram, power(values, vectors, 1.0)),
        "residual": float(np.linalg.norm(gram - root) / np.linalg.norm(gram)),
        "scale": float(np.sum(gram * root) / np.sum(root**2)),
        "null_floor": float(np.trace(gram) * np.trace(root) / len(gram) / np.linalg.norm(gram) / np.linalg.norm(root)),
        "agop_rank": float(len(values)),
    }


def preactivation_jacobian(weights: Sequence[Array], x: Array, activation: str, layer: int) -> Array:
    """df/dz_l of one sample, (k, d_l), z_l = W_l h_{l-1}."""
    _, before = forward(weights, x, activation)
    product = np.eye(len(weights[-1]))
    for index in range(len(weights) - 1, layer - 1, -1):
        product = product @ weights[index] * ACTIVATIONS[activation][1](before[index - 1])
    return product


def correlation(left: Array, right: Array) -> float:
    """Pearson correlation of the entries of two arrays."""
    return float(np.corrcoef(np.ravel(left), np.ravel(right))[0, 1])


def further_layer_metrics(
    weights: Sequence[Array], initial: Sequence[Array], xs: Array, ys: Array, activation: str, decay: float, layer: int
) -> dict[str, float]:
    """The literature's variants and the sizes, of one layer; loss `half`."""
    values, vectors = agop(weights, xs, activation, layer)
    weight, depth = weights[layer - 1], len(weights)
    gram, change = weight.T @ weight, weight - initial[layer - 1]
    root, whole = (power(values, vectors, exponent) for exponent in (1 / (depth - layer + 1), 1.0))
    outer = sum(j.T @ j for j in (preactivation_jacobian(weights, x, activation, layer) for x in xs))
    off = ~np.eye(len(gram), dtype=bool)
    found = {
        "pearson": correlation(gram, root),
        "pearson_offdiagonal": correlation(gram[off], root[off]),
        "pearson_half": correlation(gram, power(values, vectors, 0.5)),
        "pearson_half_zero_diagonal": correlation(*(part * off for part in (gram, power(values, vectors, 0.5)))),
        "gram_agop_subspace@2": subspace_overlap(gram, whole, 2),
        "nfa_dnfa": cosine(change.T @ change, whole),
        "nfa_agopfl": correlation(change.T @ change, power(values, vectors, 0.5)),
        "uc_nfa": correlation(gram, weight.T @ outer @ weight),
        "c_nfa": correlation(change.T @ change, change.T @ outer @ change),
        "fact_alignment": cosine(gram, fact_per_sample(weights, xs, ys, activation, decay, layer)),
        "feature_velocity": feature_velocity(weights, xs, ys, activation, decay, layer),
        "gram_norm": float(np.linalg.norm(gram)),
        "agop_norm": float(np.linalg.norm(whole)),
        "gram_stable_rank": float(np.linalg.norm(gram) ** 2 / np.linalg.norm(gram, 2) ** 2),
        "agop_stable_rank": float(np.linalg.norm(whole) ** 2 / np.linalg.norm(whole, 2) ** 2),
        "agop_singular_value@1": math.sqrt(values[0]),
        "agop_singular_value@2": math.sqrt(values[1]),
    }
    if layer < depth:
        found["layer_imbalance"] = float(np.linalg.norm(weights[layer].T @ weights[layer] - weight @ weight.T))
    return found


def subspace_overlap(left: Array, right: Array, r: int) -> float:
    """Mean squared cosine of the principal angles between the leading eigenspaces of two matrices."""
    leading = [np.linalg.eigh(matrix)[1][:, -r:] for matrix in (left, right)]
    cosines = np.linalg.svd(leading[0].T @ leading[1], compute_uv=False)
    return float(np.mean(cosines**2))


def subspace_overlap_with(matrix: Array, basis: Array, r: int) -> float:
    """The same with the space of an orthonormal basis, over as many angles as the smaller space has."""
    cosines = np.linalg.svd(np.linalg.eigh(matrix)[1][:, -r:].T @ basis, compute_uv=False)
    return float(np.sum(cosines**2) / min(r, basis.shape[1]))


def feature_velocity(
    weights: Sequence[Array], xs: Array, ys: Array, activation: str, decay: float, layer: int
) -> float:
    """|M' - M| / dt over a tiny step of gradient flow, without the part of second order; loss `half`."""
    weight, dt = weights[layer - 1], 1e-3
    step = loss_and_gradients(weights, xs, ys, activation, "half")[1][layer - 1] + decay * weight
    after, before = ((weight - sign * dt * step).T @ (weight - sign * dt * step) for sign in (1, -1))
    return float(np.linalg.norm(after - before) / (2 * dt))


def fact_per_sample(weights: Sequence[Array], xs: Array, ys: Array, activation: str, decay: float, layer: int) -> Array:
    """-(1/(n lambda)) sum_i (dloss_i/dh) h_i^T at a layer's input, loss `half`: the published form."""
    phi, total = ACTIVATIONS[activation][0], np.zeros((weights[layer - 1].shape[1],) * 2)
    for x, y in zip(xs, ys, strict=True):
        output, before = forward(weights, x, activation)
        hidden = phi(before[layer - 2]) if layer > 1 else x
        total = total + np.outer(jacobian(weights, x, activation, layer).T @ (output - y), hidden)
    return -total / (len(xs) * decay)


def best_exponent(weights: Sequence[Array], xs: Array, activation: str, layer: int) -> tuple[float, float]:
    """Exponent and value of the best cosine on a fine scan, refined by golden sections: good to about 1e-8."""
    values, vectors = agop(weights, xs, activation, layer)
    gram = weights[layer - 1].T @ weights[layer - 1]
    overlaps = np.sum((weights[layer - 1] @ vectors) ** 2, axis=0)

    def value(exponent: float) -> float:
        powers = (values / values[0]) ** exponent
        return float(np.sum(powers * overlaps) / np.linalg.norm(gram) / np.linalg.norm(powers))

    scanned = np.geomspace(1e-3, 1e2, 2000)
    place = int(np.argmax([value(exponent) for exponent in scanned]))
    low, high = scanned[max(place - 1, 0)], scanned[min(place + 1, len(scanned) - 1)]
    for _ in range(80):
        left, right = high - (high - low) * 0.6180339887, low + (high - low) * 0.6180339887
        low, high = (low, right) if value(left) > value(right) else (left, high)
    return (low + high) / 2, value((low + high) / 2)


def network_metrics(weights: Sequence[Array], xs: Array, ys: Array, activation: str, loss: str) -> dict[str, float]:
    """Network metrics of one network."""
    train, found = loss_and_gradients(weights, xs, ys, activation, loss)
    zero = FACTORS[loss](ys.shape[1]) * float(np.mean(np.sum(ys**2, axis=1)))
    pairs = [(after.T @ after, before @ before.T) for before, after in itertools.pairwise(weights)]
    gap = math.sqrt(sum(float(np.sum((after - before) ** 2)) for after, before in pairs))
    size = math.sqrt(sum(float(np.sum(after**2) + np.sum(before**2)) for after, before in pairs))
    return {
        "train_loss": train,
        "relative_loss": train / zero,
        "gradient_norm": math.sqrt(sum(float(np.sum(g**2)) for g in found)),
        "weight_norm": math.sqrt(sum(float(np.sum(w**2)) for w in weights)),
        "imbalance": gap,
        "imbalance_relative": gap / size,
    }


def metrics_on_a_test_set(
    weights: Sequence[Array], train: tuple[Array, Array], test: tuple[Array, Array], activation: str, loss: str
) -> dict[str, float]:
    """Network metrics that need a test set; (inputs, targets) of each set."""
    seen, unseen = (loss_and_gradients(weights, *samples, activation, loss)[0] for samples in (train, test))
    return {"test_loss": unseen, "generalisation_gap": unseen - seen}


def train(
    weights: Sequence[Array], xs: Array, ys: Array, activation: str, rate: float, decay: float, steps: int
) -> list[Array]:
    """Full-batch gradient descent with coupled decay on the loss `half`."""
    weights = [weight.copy() for weight in weights]
    for _ in range(steps):
        _, found = loss_and_gradients(weights, xs, ys, activation, "half")
        weights = [w - rate * (g + decay * w) for w, g in zip(weights, found, strict=True)]
    return weights
