"""Update rules: name -> pure pair (init, step) on stacked weights."""

from nfa_kernels.optimizers import adagrad, adam, gd, lion, momentum, muon, nesterov, rmsprop, sgdw, signsgd
from nfa_kernels.optimizers.rule import Hyperparameters, Rule

__all__ = ["OPTIMIZERS", "Hyperparameters", "Rule"]

OPTIMIZERS: dict[str, Rule] = {
    "gd": Rule(gd.init, gd.step, gd.step_factored),
    "sgd": Rule(gd.init, gd.step, gd.step_factored),
    "momentum": Rule(momentum.init, momentum.step),
    "nesterov": Rule(nesterov.init, nesterov.step),
    "adam": Rule(adam.init, adam.step),
    "rmsprop": Rule(rmsprop.init, rmsprop.step),
    "adagrad": Rule(adagrad.init, adagrad.step),
    "adamw": Rule(adam.init, adam.step_decoupled),
    "sgdw": Rule(sgdw.init, sgdw.step),
    "lion": Rule(lion.init, lion.step),
    "muon": Rule(muon.init, muon.step),
    "signsgd": Rule(signsgd.init, signsgd.step),
}
