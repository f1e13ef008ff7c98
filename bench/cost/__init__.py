"""What the service's own care costs: the same transfers with parts of it on and off, in one run.

This package owns the variants and their goals. Loads, rounds and ratios are those of http_speed.
"""
