"""Conversion factors between units, once for the whole service."""

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
