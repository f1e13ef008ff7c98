"""Tells who still imports the client library from here where it is; owns nothing else."""

raise ImportError(
    "the client library has moved: write `from ledgercore.client import LedgerClient`",
    name=__name__,
)
