"""Totals of a server at rest.

This module owns what such a server has counted: nothing, save what a test gives. It never asserts.
"""

from typing import Any

from ledgercore import Statistics
from ledgercore.service.monitoring.totals import Totals
from tests.support import totals_making

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000


def make_statistics(**values: Any) -> Statistics:
    """Return statistics of a ledger in which nothing has happened, save what is given."""
    rest: dict[str, Any] = {"lsn_applied": 0, "lsn_durable": 0, "keys": 0}
    return totals_making.make_statistics(**(rest | values))


def make_totals(at_s: float = 0.0, **values: Any) -> Totals:
    """Return totals of a second, of a server at rest, save what is given."""
    rest: dict[str, Any] = {"statistics": make_statistics(), "connections": 0, "inflight": 0}
    return totals_making.make_totals(at_s, **(rest | values))
