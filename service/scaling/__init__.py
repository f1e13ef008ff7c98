"""Adaptive limits: how many transfers may be in flight, and how many workers there are."""
