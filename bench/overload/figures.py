"""The figures of an overload run, and what they have to be.

This module owns their arithmetic and their bounds. It starts nothing and prints nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GOODPUT_MIN = 0.8
"""Of the peak: so much has to be left of it."""
P99_FACTOR_MAX = 5.0
"""The p99 of the admitted is at most so many times the target, as their clients see it. The target
is held inside of the server, from admission to answer. Before that a request waits until the server
has read those of the other connections, refusals among them, and no limit on what is admitted makes
that shorter: with many connections it is most of what a client sees (`turn_ms`)."""
SERVER_P99_FACTOR_MAX = 1.5
"""And the median of what the server has measured is at most so many times the target: a window may
be off, and the limit moves only after some of them."""
GROWTH_FREE_MB = 48.0
"""What the memory may grow by: buffers of connections, and what an allocator keeps."""
SOUND_BALANCES = "as answered"
"""What the simulator says where every account has what the answers make it."""
BYTES_PER_TRANSFER = 160
"""And what a transfer may cost that is remembered: 64 bytes a key, twice while its table grows."""


@dataclass(frozen=True, slots=True)
class Overload:
    """What came of a run. Rates are in transfers a second, sizes in MB.

    `lost` counts answers that do not hold when their keys are asked again, and keys that cannot be;
    `given_up` those whose clients were refused until their patience was over, and whose fate was
    looked up. `p99_ms` is what the clients saw; of what the server measured, from admission to
    answer, `server_p99_ms` is the median of its windows. `load_share` is how much of its core the
    generator had.
    """

    clients: int
    peak: float
    offered: float
    sent: float
    goodput: float
    p99_ms: float
    server_p99_ms: float
    server_p99_max_ms: float
    load_share: float
    target_ms: float
    refused: int
    lost: int
    given_up: int
    transfers: int
    before_mb: float
    after_mb: float
    is_audited: bool

    @property
    def share(self) -> float:
        return self.goodput / self.peak if self.peak else 0.0

    @property
    def factor(self) -> float:
        return self.offered / self.peak if self.peak else 0.0

    @property
    def turn_ms(self) -> float:
        """How long a request takes on the mean if every client always has one under way.

        That is Little's law: those under way by those that are answered in a millisecond.
        """
        return self.clients / self.sent * 1000 if self.sent else 0.0

    @property
    def allowed_mb(self) -> float:
        return GROWTH_FREE_MB + self.transfers * BYTES_PER_TRANSFER / 1e6

    def faults(self) -> list[str]:
        """Return what is not as it has to be, one sentence each."""
        grown_mb = self.after_mb - self.before_mb
        found = []
        if self.share < GOODPUT_MIN:
            found.append(f"the goodput is {self.share:.0%} of the peak, below {GOODPUT_MIN:.0%}")
        if self.p99_ms > self.target_ms * P99_FACTOR_MAX:
            found.append(f"the p99 of {self.p99_ms:.1f} ms is beyond {P99_FACTOR_MAX:g} targets")
        if self.server_p99_ms == 0:
            found.append("the server was not seen, so its own p99 is not known")
        if self.server_p99_ms > self.target_ms * SERVER_P99_FACTOR_MAX:
            told = f"the p99 of {self.server_p99_ms:.1f} ms in the server"
            found.append(f"{told} is beyond {SERVER_P99_FACTOR_MAX:g} targets")
        if grown_mb > self.allowed_mb:
            found.append(f"the memory grew by {grown_mb:.0f} MB, beyond {self.allowed_mb:.0f} MB")
        if self.lost:
            found.append(f"{self.lost} transfers are not as they were answered, or cannot be asked")
        if not self.is_audited:
            found.append("the checks after the run found fault")
        return found


def find_percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent do not exceed; 0 of nothing."""
    if not values:
        return 0.0
    rank = max(1, -int(-len(values) * percent // 100))
    return sorted(values)[rank - 1]


def read_latencies_ms(rows: Sequence[Mapping[str, str]]) -> list[float]:
    """Return how long each applied transfer took that was admitted at its first try.

    A row is one of the simulator's table. It tells when an intent was first sent, so that for what
    was refused at first the time would be that of its patience as well.
    """
    return [
        (float(row["answered_s"]) - float(row["sent_s"])) * 1000
        for row in rows
        if row["status"] == "201" and row["retries"] == "0" and row["answered_s"]
    ]


def count_applied(rows: Sequence[Mapping[str, str]], seconds: float) -> int:
    """Return how many transfers were applied, and answered in the first so many seconds.

    Retries go on for some seconds after the last arrival, and are no load to speak of.
    """
    return sum(
        row["status"] == "201" and row["answered_s"] != "" and float(row["answered_s"]) <= seconds
        for row in rows
    )


def make_overload(
    peak: Mapping[str, Any],
    loaded: Mapping[str, Any],
    rows: Sequence[Mapping[str, str]],
    *,
    clients: int,
    seconds: float,
    target_ms: float,
    before_mb: float,
    after_mb: float,
    server_p99s_ms: Sequence[float],
) -> Overload:
    """Return the figures of two summaries of the simulator, one of the peak and one beyond it.

    `rows` is the table of the latter, which offered its load for `seconds`, and `server_p99s_ms`
    what the server said of its windows meanwhile.
    """
    accounting, checks = loaded["accounting"], loaded["checks"] or {}
    applied = int(loaded["statuses"].get("201", 0))
    return Overload(
        clients=clients,
        peak=float(peak["answered_per_s"]) * float(peak["success"]),
        offered=len(rows) / seconds,
        sent=accounting["sent"] / seconds,
        goodput=count_applied(rows, seconds) / seconds,
        p99_ms=find_percentile(read_latencies_ms(rows), 99),
        server_p99_ms=find_percentile(server_p99s_ms, 50),
        server_p99_max_ms=max(server_p99s_ms, default=0.0),
        load_share=max(loaded["cpu_shares"], default=0.0),
        target_ms=target_ms,
        refused=sum(loaded["refusals"].values()),
        lost=sum(int(checks.get(name, 0)) for name in ("mismatches", "unasked")),
        given_up=int(checks.get("open_keys", 0)),
        transfers=applied,
        before_mb=before_mb,
        after_mb=after_mb,
        # Where it is not known what became of a key, the balances are not compared.
        is_audited=bool(loaded["ok"]) and checks.get("balances") == SOUND_BALANCES,
    )
