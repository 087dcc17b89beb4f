"""The kernels against the way published code measures the ansatz, on one core, side by side.

The peer takes one network at a time: autograd and torch.optim.SGD for a step; vmap(jacrev), einsum and eigh for the
AGOP and its power; the cosine of two matrices. The stack is 64 networks, L = 3, width 64, d = 32, k = 4, n = 256.
Steps are the tensor library's; those that are compiled, which trainers make where there is a compiler, have lines of
their own.

    python benchmarks/kernels.py
"""

import itertools
import os
import time

os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")

import torch
from timing import best_seconds, gemm_rate, machine
from torch import Tensor

from nfa_kernels import cost, names
from nfa_kernels.initialisations import initial_weights
from nfa_kernels.linear import factored_gradients, moments
from nfa_kernels.losses import loss_of
from nfa_kernels.measured_data import measured_data
from nfa_kernels.metrics import Request, measure
from nfa_kernels.networks import Architecture, gradients, samples_last
from nfa_kernels.optimizers import gd
from workers.allocation import keep_freed_memory
from workers.motion import Stepping
from workers.training_data import Data

STACK, WIDTHS, SAMPLES, RATE = 64, (32, 64, 64, 4), 256, 0.01
SMALL, MANY = (10, 16, 16, 4), 512
"""Widths, and networks in a stack, of small networks that Adam trains."""
STEPS = 10
"""Steps in a row, as in training."""
ASKED = Request(("train_loss", "alignment"), (1,))
ALL = Request(names.DEFAULT_METRICS, (1,))


class Peer:
    """One network the usual way."""

    def __init__(self, weights: list[Tensor], x: Tensor, y: Tensor, activation: str) -> None:
        self.weights = [torch.nn.Parameter(weight.clone()) for weight in weights]
        self.x, self.y = x, y
        self.phi = torch.relu if activation == "relu" else lambda z: z
        self.optimizer = torch.optim.SGD(self.weights, lr=RATE)

    def output(self, x: Tensor) -> Tensor:
        """f(x) for one sample or many."""
        first, second, third = self.weights
        return self.phi(self.phi(x @ first.T) @ second.T) @ third.T

    def step(self) -> None:
        """One step of gradient descent."""
        self.optimizer.zero_grad()
        (0.5 * (self.output(self.x) - self.y).square().sum(1).mean()).backward()
        self.optimizer.step()

    def measure(self) -> Tensor:
        """Loss and alignment of layer 1 with the AGOP's power 1/3."""
        with torch.no_grad():
            loss = 0.5 * (self.output(self.x) - self.y).square().sum(1).mean()
        jacobians = torch.func.vmap(torch.func.jacrev(self.output))(self.x).detach()
        agop = torch.einsum("nki,nkj->ij", jacobians, jacobians) / len(self.x)
        values, vectors = torch.linalg.eigh(agop)
        power = vectors * values.clamp_min(0) ** (1 / 3) @ vectors.T
        gram = self.weights[0].detach().T @ self.weights[0].detach()
        return (gram * power).sum() / gram.norm() / power.norm() + 0 * loss


class Stack:
    """All networks at once, the way of this package."""

    def __init__(self, weights: tuple[Tensor, ...], x: Tensor, y: Tensor, activation: str) -> None:
        self.architecture, self.weights, self.x, self.y = (
            Architecture(WIDTHS, activation),
            weights,
            samples_last(x),
            samples_last(y),
        )
        self.prepared = measured_data(self.architecture, x, y, x[:, :0], y[:, :0], "half")
        self.moments = moments(x, y, "half") if activation == "linear" else None
        self.numbers = {"learning_rate": torch.full((STACK, 1, 1), RATE, dtype=x.dtype)}

    @torch.inference_mode()
    def step(self) -> None:
        """One step of gradient descent of every network."""
        if self.moments is not None:
            thin = factored_gradients(self.weights, self.moments, self.numbers["learning_rate"])
            self.weights, _ = gd.step_factored(self.weights, thin, gd.State(), self.numbers)
        else:
            found = gradients(self.architecture, self.weights, self.x, self.y, loss_of("half"))
            self.weights, _ = gd.step(self.weights, found, gd.State(), self.numbers)

    @torch.inference_mode()
    def measure(self) -> Tensor:
        """The peer's two metrics."""
        return measure(self.architecture, self.weights, self.prepared, ASKED, "half").layers[1]["alignment"]

    @torch.inference_mode()
    def measure_all(self) -> None:
        """All default metrics, a best exponent included."""
        measure(self.architecture, self.weights, self.prepared, ALL, "half")


def sides(activation: str) -> tuple[Stack, list[Peer]]:
    """The same networks and data for both."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(STACK, SAMPLES, WIDTHS[0], generator=generator, dtype=torch.float64)
    y = torch.randn(STACK, SAMPLES, WIDTHS[-1], generator=generator, dtype=torch.float64)
    lanes = [initial_weights("he", WIDTHS, seed) for seed in range(STACK)]
    weights = tuple(torch.stack(layer) for layer in zip(*lanes, strict=True))
    peers = [Peer(lane, x[index], y[index], activation) for index, lane in enumerate(lanes)]
    return Stack(weights, x, y, activation), peers


def compiled_rate(
    activation: str, rule: str, dtype: torch.dtype, widths: tuple[int, ...] = WIDTHS, lanes: int = STACK
) -> tuple[float, float]:
    """Seconds of a compiled step of one network of a stack, and its operations per second."""
    training = {"optimizer": rule, "loss": "half", "learning_rate": RATE, "weight_decay": 0.0, "steps": 1 << 30}
    training |= {"schedule": "constant", "dtype": str(dtype).removeprefix("torch.")}
    training |= {"beta1": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    of_layers = zip(*(initial_weights("he", widths, seed) for seed in range(lanes)), strict=True)
    weights = tuple(torch.stack(layer) for layer in of_layers)
    x, y = (torch.randn(lanes, SAMPLES, width, dtype=torch.float64) for width in (widths[0], widths[-1]))
    with torch.inference_mode():
        data = Data(Architecture(widths, activation), x, y, training, range(lanes), dtype)
        settings = {"training": training, "measure": {"steps": [training["steps"]]}}
        moving = Stepping(weights, data, settings, [training] * lanes)
        found, until = [], time.perf_counter() + 1.0
        while not found or time.perf_counter() < until:
            before, started = moving.step, time.process_time()
            moving.advance(0)
            found.append((time.process_time() - started) / (moving.step - before) / lanes)
    seconds = min(found[1:] or found)
    shape = cost.Shape(widths, SAMPLES, activation == "linear", full_batch=True, optimizer=rule)
    return seconds, cost.step_flops(shape) / seconds


def products_alone(activation: str, dtype: torch.dtype) -> float:
    """Operations per second of a step's matrix products and nothing else, on arrays that stay in the cache.

    What a step can reach at most: small and thin products are slower than large ones.
    """
    lanes, outputs = (STACK, WIDTHS[-1]) if activation == "linear" else (2, 0)
    pairs: list[tuple[Tensor, Tensor]] = []
    for before, after in itertools.pairwise(WIDTHS):
        weight = torch.randn(lanes, after, before, dtype=dtype)
        if activation == "linear":
            left, right = (torch.randn(lanes, outputs, size, dtype=dtype) for size in (after, before))
            pairs += [(left, weight), (right, weight.mT), (left.mT, right)]
        else:
            inputs, deltas = (torch.randn(lanes, size, SAMPLES, dtype=dtype) for size in (before, after))
            pairs += [(weight, inputs), (deltas, inputs.mT)] + ([(weight.mT, deltas)] if before != WIDTHS[0] else [])
    results = [torch.bmm(*pair) for pair in pairs]
    operations = sum(2 * lanes * left.shape[1] * left.shape[2] * right.shape[2] for left, right in pairs)
    repeats = 20

    def run() -> None:
        for _ in range(repeats):
            for pair, result in zip(pairs, results, strict=True):
                torch.bmm(*pair, out=result)

    return repeats * operations / best_seconds({"products": run}, 1.0)["products"]


def main() -> None:
    """Print seconds, ratios and rates."""
    torch.set_num_threads(1)
    keep_freed_memory()
    print(f"{machine()}; one thread, float64")
    print(f"{STACK} networks, widths {WIDTHS}, n = {SAMPLES}\n")
    print(f"{'':34} {'ours':>10} {'peer':>10}  ratio")
    for activation in ("linear", "relu"):
        stack, peers = sides(activation)
        together, alone = stack.measure(), torch.stack([peer.measure() for peer in peers[:4]])
        # null eigenvalues of the matrix that the peer forms come out at eps and enter its power 1/3 as 5e-6
        difference = (together[:4] - alone).abs().max().item()
        assert difference < 1e-3, "the two sides measure different things"
        few = peers[:8]
        found = best_seconds(
            {
                "step": lambda stack=stack: [stack.step() for _ in range(STEPS)],
                "measure": stack.measure,
                "measure all": stack.measure_all,
                "peer step": lambda few=few: [peer.step() for peer in few for _ in range(STEPS)],
                "peer measure": lambda few=few: [peer.measure() for peer in few],
            }
        )
        peer_step, peer_measure = (found[name] * STACK / len(few) for name in ("peer step", "peer measure"))
        found["step"], peer_step = found["step"] / STEPS, peer_step / STEPS
        rows = {
            "step": (found["step"], peer_step),
            "measurement": (found["measure"], peer_measure),
            "step + measurement": (found["step"] + found["measure"], peer_step + peer_measure),
        }
        for name, (ours, theirs) in rows.items():
            print(f"{activation + ', ' + name:34} {1e3 * ours:8.2f} ms {1e3 * theirs:8.2f} ms {theirs / ours:5.1f}x")
        told = f"{len(names.DEFAULT_METRICS)} of ours in {1e3 * found['measure all']:.2f} ms"
        print(f"{activation + ', all default metrics':34} {told}")
        shape = cost.Shape(WIDTHS, SAMPLES, activation == "linear", full_batch=True)
        rate, limit = STACK * cost.step_flops(shape) / found["step"], gemm_rate(torch.float64)
        told = f"{rate / 1e9:.1f} of {limit / 1e9:.1f} GFLOP/s of a large GEMM, {rate / limit:.0%}"
        print(f"{activation + ', step':34} {told}")
        for dtype in (torch.float64, torch.float32):
            least, most = products_alone(activation, dtype), gemm_rate(dtype)
            told = f"{least / 1e9:.1f} of {most / 1e9:.1f} GFLOP/s, {least / most:.0%}"
            print(f"{activation}, products alone, {str(dtype).removeprefix('torch.'):12} {told}")
        for rule, dtype in itertools.product(("gd", "adam"), (torch.float64, torch.float32)):
            seconds, rate = compiled_rate(activation, rule, dtype)
            most, name = gemm_rate(dtype), f"{activation}, compiled {rule}, {str(dtype).removeprefix('torch.')}"
            told = f"{1e6 * seconds:.2f} us a network, {rate / 1e9:.1f} of {most / 1e9:.1f} GFLOP/s, {rate / most:.0%}"
            print(f"{name:34} {told}")
        if activation == "linear":
            for dtype in (torch.float64, torch.float32):
                seconds, _ = compiled_rate(activation, "adam", dtype, SMALL, MANY)
                name = f"linear small, adam, {str(dtype).removeprefix('torch.')}"
                print(f"{name:34} {1e6 * seconds:.2f} us a network of {MANY}, widths {SMALL}")
        print(f"{activation + ', alignment':34} differs by {difference:.1e} from the peer's\n")


if __name__ == "__main__":
    main()
