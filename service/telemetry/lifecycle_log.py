"""The log lines of the life of a server: it has recovered, serves, drains, stops, has stopped.

This module owns these lines, and the one about its clock. It never causes what it tells.
"""

import logging
import os

from ledgercore import Statistics, __version__

from ..settings import Settings
from ..units import NS_PER_S

VERSION = __version__

logger = logging.getLogger("ledgercore")


def log_started(settings: Settings, address: str) -> None:
    """Log that a server serves, where, and what. `address` is its URL."""
    logger.info(
        "ledgercore %s serves %s at %s",
        VERSION,
        settings.data,
        address,
        extra={
            "event": "started",
            "version": VERSION,
            "data": settings.data,
            "durability": settings.durability,
            "address": address,
            "pid": os.getpid(),
            "segments": settings.segments,
            "workers_min": settings.workers_min,
            "workers_max": settings.workers_max,
        },
    )


def log_recovered(statistics: Statistics) -> None:
    """Log how much of a journal was read, and how long that took; nothing where it was none."""
    records, seconds = statistics.recovered_records, statistics.recovery_seconds
    if records > 0:
        logger.info(
            "%d records read from the journal in %.3f s",
            records,
            seconds,
            extra={"event": "recovered", "records": records, "seconds": round(seconds, 6)},
        )


def log_clock(lead_ns: int) -> None:
    """Log that time is not logged as the wall clock has it: ahead of it, or behind."""
    seconds = lead_ns / NS_PER_S
    told = {"event": "clock", "lead_seconds": round(seconds, 6)}
    if lead_ns == 0:
        logger.info("logged time and the wall clock agree", extra=told)
        return
    logger.warning(
        "logged time is %.3f s %s the wall clock%s",
        abs(seconds),
        "ahead of" if lead_ns > 0 else "behind",
        ", and goes at nine tenths of its speed until that has caught up" if lead_ns > 0 else "",
        extra=told,
    )


def log_few_descriptors(room: int, connections_max: int) -> None:
    """Log that there may be fewer connections than the settings say."""
    logger.info(
        "the limit of descriptors leaves room for %d connections of %d",
        room,
        connections_max,
        extra={"event": "few-descriptors", "room": room, "connections_max": connections_max},
    )


def log_ignored(variable: str, value: str) -> None:
    """Log that a variable of the environment was ignored, since a cluster has set it."""
    logger.warning(
        "%s=%s is what a cluster tells of a service, and is ignored",
        variable,
        value,
        extra={"event": "variable-ignored", "variable": variable},
    )


def log_draining(drain_s: int) -> None:
    """Log that a server is about to stop, and takes requests until then."""
    logger.info(
        "is about to stop, and takes requests for %d s more",
        drain_s,
        extra={"event": "draining", "drain_s": drain_s},
    )


def log_stopping() -> None:
    """Log that a server takes no more requests."""
    logger.info("takes no more requests, and stops", extra={"event": "stopping"})


def log_stopped() -> None:
    """Log that the ledger is closed."""
    logger.info("has stopped", extra={"event": "stopped"})
