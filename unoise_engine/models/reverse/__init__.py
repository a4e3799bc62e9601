"""The gradient of a score with respect to the input, written into the model's own graph: no other package runs it.

Every node on the way from the input to the scores gets its transpose (its vector-Jacobian product), which is made of
ordinary nodes too. backward.py walks the graph; a rule for an operator is a function in one of the files that rules.py
names; growing.py is what rules write with.
"""

from unoise_engine.models.reverse.backward import reversed_graph

__all__ = ["reversed_graph"]
