"""The HTTP service of ledgercore: requests in, micro-batches out, answers back.

It owns the HTTP contract, and never a rule of the ledger: those live in `ledgercore`, of which
this package uses what `ledgercore/__init__.py` names, and nothing else. The folder `service` is
installed as the package `ledgercore.service`, so that no other package of that name is touched.
"""

if __name__ != "ledgercore.service":
    raise ImportError(
        "this is the folder of the package ledgercore.service: write"
        " `from ledgercore.client import LedgerClient` for the client,"
        " `python -m ledgercore` for the command, and `ledgercore.service` for all else",
        name=__name__,
    )
