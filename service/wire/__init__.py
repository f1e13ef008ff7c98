"""Bytes to values and back: bodies, paths, answers and problems, in JSON and Arrow."""
