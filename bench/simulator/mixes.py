"""Which kinds of clients there are, and how many of each.

This module owns the names of the kinds and how shares become whole clients. How each of them
behaves is told in clients.py.
"""

from collections.abc import Mapping, Sequence
from random import Random

POLITE = "polite"
IMPOLITE = ("hammer", "reuse", "disconnect", "nonsense")
KINDS = (POLITE, *IMPOLITE)


def split_mix(impolite: float) -> dict[str, float]:
    """Return the shares for a share of impolite clients, which is split evenly."""
    return {POLITE: 1.0 - impolite} | {kind: impolite / len(IMPOLITE) for kind in IMPOLITE}


def read_mix(text: str) -> dict[str, float]:
    """Read shares such as `polite=0.8,hammer=0.2`, which need not sum to one.

    Raises ValueError with a sentence that names what is wrong.
    """
    shares: dict[str, float] = {}
    for item in text.split(","):
        kind, is_given, number = (part.strip() for part in item.partition("="))
        if kind not in KINDS:
            raise ValueError(f"{kind!r} is no kind of client; there are {', '.join(KINDS)}")
        if kind in shares:
            raise ValueError(f"{kind} appears twice")
        try:
            shares[kind] = float(number)
        except ValueError:
            raise ValueError(f"{kind} has no share; write {kind}=0.1") from None
        if not is_given or not 0 <= shares[kind] < float("inf"):
            raise ValueError(f"{kind} has a share that is not a number above zero")
    if not any(shares.values()):
        raise ValueError("all shares are zero")
    return shares


def apportion(mix: Mapping[str, float], clients: int) -> dict[str, int]:
    """Return how many clients each kind has: whole ones, which sum to `clients`.

    By largest remainders (Hamilton's method), so that no kind is a whole client off its share.
    """
    total = sum(mix.values())
    quotas = {kind: share / total * clients for kind, share in mix.items()}
    counts = {kind: int(quota) for kind, quota in quotas.items()}
    # Ties go to the kind that was named first: sorting keeps the order of equals.
    by_rest = sorted(quotas, key=lambda kind: counts[kind] - quotas[kind])
    for kind in by_rest[: clients - sum(counts.values())]:
        counts[kind] += 1
    return counts


def deal_kinds(mix: Mapping[str, float], clients: int, seed: int) -> Sequence[str]:
    """Return the kind of each client, in an order in which any part of them is a fair sample."""
    kinds = [kind for kind, count in apportion(mix, clients).items() for _ in range(count)]
    Random(seed).shuffle(kinds)
    return kinds
