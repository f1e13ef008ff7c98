"""File descriptors: how many the process may have, and how many connections may take.

This module owns the limit: the soft one is raised to the hard one, and what all but the connections
need is kept back. It never opens anything.
"""

import resource

RESERVED = 128
"""What is kept back. At rest a server has some thirty: the journal's, the loop's, its listeners,
the standard ones. Beside these there may be a segment that is made (1), a snapshot and an audit
(7 each, for a moment), four blocking calls that read the journal (2 each), a profile (8), the
collector of traces (4), files of keys and certificates (4): less than seventy."""


class TooFewDescriptors(Exception):
    """The limit leaves no connection. The message is one line that names it."""


def raise_limit() -> int:
    """Let the process have as many descriptors as it can get, and return how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):
        return soft  # The kernel has a limit of its own, below that of the process.
    return hard


def find_room(limit: int, beyond: int) -> int:
    """Return how many connections there may be under a limit, with so many beyond them.

    Raises TooFewDescriptors where that is none.
    """
    if limit == resource.RLIM_INFINITY:
        return 1 << 30
    room = limit - RESERVED - beyond
    if room < 1:
        needed = RESERVED + beyond + 1
        raise TooFewDescriptors(
            f"{limit} descriptors are too few to serve with: it takes {needed} at least (ulimit -n)"
        )
    return room
