"""What computes with stacks of networks of any kind: parameters, forward pass, gradients and tapped Jacobians.

`program` is the seam, `graph_program` the executor of a graph of layers. Every tensor has a leading K: all networks of
a stack pass through one operation together.
"""
