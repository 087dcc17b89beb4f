"""Networks as graphs of layers: what a list of layers means, its parameters, shapes, measured layers and cost.

Torch-free, so that a grid is refused where it is read: `graph` reads layers, `named` says which layers a named kind of
network stands for, `cost` what a step of it takes. What computes with a graph is in `nfa_kernels.programs`.
"""
