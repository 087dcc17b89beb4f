"""What a JAX user writes: one network as functions, vmap over seeds, jit, and scan over the steps between measurements.

Knows nothing of this package, as peer_training.py, whose networks, data and measurements these are.
"""

import itertools
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

# what is measured in float64 is so; dtypes are said everywhere else
os.environ.setdefault("JAX_ENABLE_X64", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import jax.numpy as jnp
import peer_training
import torch
from jax import Array, lax
from peer_training import Sweep

Weights = list[Array]
DECAY = 0.01


def drawn(sweep: Sweep, key: Array) -> tuple[Weights, Array, Array]:
    """Initial weights and data of a seed."""
    dtype, widths = jnp.dtype(sweep.dtype), sweep.widths
    of_x, of_teacher, of_noise, *keys = jax.random.split(key, 2 + len(widths))
    x = jax.random.normal(of_x, (sweep.samples, widths[0]), dtype)
    teacher = jax.random.normal(of_teacher, (widths[-1], widths[0]), dtype) / widths[0] ** 0.5
    y = x @ teacher.T + 0.1 * jax.random.normal(of_noise, (sweep.samples, widths[-1]), dtype)
    weights = [
        jax.random.normal(own, (after, before), dtype) * (2 / before) ** 0.5
        for own, (before, after) in zip(keys, itertools.pairwise(widths), strict=True)
    ]
    return weights, x, y


def output(sweep: Sweep, weights: Weights, x: Array) -> Array:
    """f(x) of one sample or many."""
    for weight in weights[:-1]:
        x = x @ weight.T
        x = jax.nn.relu(x) if sweep.activation == "relu" else x
    return x @ weights[-1].T


def loss(sweep: Sweep, weights: Weights, x: Array, y: Array) -> Array:
    """Half the mean squared error."""
    return 0.5 * jnp.square(output(sweep, weights, x) - y).sum(1).mean()


def alignment(sweep: Sweep, weights: Weights, x: Array) -> Array:
    """Cosine of W_1^T W_1 and the AGOP's power 1/L."""
    dtype = jnp.dtype(sweep.measured_in or sweep.dtype)
    weights, x = [weight.astype(dtype) for weight in weights], x.astype(dtype)
    jacobians = jax.vmap(jax.jacrev(partial(output, sweep, weights)))(x).astype(jnp.float64)
    agop = jnp.einsum("nki,nkj->ij", jacobians, jacobians) / len(x)
    values, vectors = jnp.linalg.eigh(agop)
    power = vectors * jnp.maximum(values, 0) ** (1 / len(weights)) @ vectors.T
    gram = (weights[0].T @ weights[0]).astype(jnp.float64)
    return (gram * power).sum() / jnp.linalg.norm(gram) / jnp.linalg.norm(power)


def train(sweep: Sweep, seed: Array) -> tuple[Array, Array]:
    """Loss and alignment at every measured step of a seed, both (steps / every + 1,)."""
    of_start, of_batches = jax.random.split(jax.random.key(seed))
    weights, x, y = drawn(sweep, of_start)

    def measured(weights: Weights) -> tuple[Array, Array]:
        return loss(sweep, weights, x, y), alignment(sweep, weights, x)

    def step(weights: Weights, key: Array) -> tuple[Weights, None]:
        rows = jax.random.permutation(key, sweep.samples)[: sweep.batch_size] if sweep.batch_size else slice(None)
        gradients = jax.grad(partial(loss, sweep))(weights, x[rows], y[rows])
        moved = [w - sweep.learning_rate * (g + DECAY * w) for w, g in zip(weights, gradients, strict=True)]
        return moved, None

    def part(weights: Weights, keys: Array) -> tuple[Weights, tuple[Array, Array]]:
        return lax.scan(step, weights, keys)[0], measured(weights)

    keys = jax.random.split(of_batches, (sweep.steps // sweep.every, sweep.every))
    weights, (losses, alignments) = lax.scan(part, weights, keys)
    last = measured(weights)
    return jnp.append(losses, last[0]), jnp.append(alignments, last[1])


def compiled(sweep: Sweep, seeds: Sequence[int]) -> Callable[[], object]:
    """Trains all seeds at once; compiled already."""
    numbers = jnp.asarray(seeds)
    run = jax.jit(jax.vmap(partial(train, sweep))).lower(numbers).compile()
    return lambda: jax.block_until_ready(run(numbers))


def difference(sweep: Sweep) -> tuple[float, float]:
    """How far loss and alignment are from those of peer_training.py, of the same weights and data in float64."""
    sweep = replace(sweep, dtype="float64", measured_in="")
    weights, x, y = jax.jit(partial(drawn, sweep))(jax.random.key(0))
    theirs = [torch.tensor(weight.tolist(), dtype=torch.float64) for weight in weights]
    inputs, targets = (torch.tensor(array.tolist(), dtype=torch.float64) for array in (x, y))
    phi = torch.relu if sweep.activation == "relu" else lambda z: z
    hidden = inputs
    for weight in theirs[:-1]:
        hidden = phi(hidden @ weight.T)
    wanted = 0.5 * float((hidden @ theirs[-1].T - targets).square().sum(1).mean())
    found = float(jax.jit(partial(loss, sweep))(weights, x, y))
    aligned = float(jax.jit(partial(alignment, sweep))(weights, x))
    return abs(found - wanted) / wanted, abs(aligned - peer_training.alignment(theirs, inputs, phi))


def in_jax(samples: Sequence[Sequence[Sweep]]) -> list[float]:
    """Seconds per trial of each sample: those of one shape at once, one shape after the other.

    Raises:
        RuntimeError: it does not measure what peer_training.py measures.
    """
    found = []
    for sweeps in samples:
        if max(difference(sweeps[0])) > 1e-4:
            # of linear networks the power of a matrix without full rank is uncertain in the fifth digit
            raise RuntimeError(f"{sweeps[0].name}: loss and alignment are not those of the script")
        runs = [compiled(shape, range(count)) for shape, count in _counted(sweeps).items()]
        started = time.perf_counter()
        for run in runs:
            run()
        found.append((time.perf_counter() - started) / len(sweeps))
    return found


def _counted(sweeps: Sequence[Sweep]) -> dict[Sweep, int]:
    return {shape: sweeps.count(shape) for shape in dict.fromkeys(sweeps)}
