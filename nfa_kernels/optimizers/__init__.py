"""Update rules: name -> pure pair (init, step) on stacked weights."""

from nfa_kernels.optimizers import adam, gd, momentum
from nfa_kernels.optimizers.rule import Hyperparameters, Rule

__all__ = ["OPTIMIZERS", "Hyperparameters", "Rule"]

OPTIMIZERS: dict[str, Rule] = {
    "gd": Rule(gd.init, gd.step),
    "sgd": Rule(gd.init, gd.step),
    "momentum": Rule(momentum.init, momentum.step),
    "adam": Rule(adam.init, adam.step),
    "adamw": Rule(adam.init, adam.step_decoupled),
}
