"""Sign descent with decoupled decay: W - lr lambda W - lr sign(g); every entry of every array moves by lr.

torch.optim has no such rule. Source: Bernstein et al. 2018, arXiv:1802.04434, algorithm 1.
"""

from nfa_kernels.networks import Params
from nfa_kernels.optimizers.gd import State, init
from nfa_kernels.optimizers.rule import Hyperparameters, number, shrunk

__all__ = ["init", "step"]


def step(weights: Params, gradients: Params, state: State, hyperparameters: Hyperparameters) -> tuple[Params, State]:
    """One update of every network; shapes as given."""
    rate = number(hyperparameters, "learning_rate", weights)
    kept = shrunk(weights, hyperparameters)
    return tuple(w.addcmul(g.sign(), rate, value=-1) for w, g in zip(kept, gradients, strict=True)), state
