"""The HTTP door of ledgercore: requests in, micro-batches out, answers back.

It owns the HTTP contract, and never a rule of the ledger: those live in `ledgercore`, of which
this package uses what `ledgercore/__init__.py` names, and nothing else.
"""
