"""Profiles of a running process, and the formats and pictures made of them."""
