"""Faults on purpose: the plan of them, what each does, and the switch."""
