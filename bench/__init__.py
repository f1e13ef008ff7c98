"""Measurements of the engine and of the service, each figure beside its goal; run by `make bench`.

The engine is used as any caller would use it, and a server only by its URL and as a process.
"""
