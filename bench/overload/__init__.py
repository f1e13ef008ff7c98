"""A server that is asked for much more than it can do: what still comes out of it.

This package owns the run, its figures and their bounds. The load is the simulator's.
"""
