"""The types of submission.pyx. The docstrings here are its reference."""

from .ledger import Ledger
from .outcome import Outcome

class Submission:
    """A micro-batch on its way through one segment, made by `Engine.new_submission`.

    Filled by one thread, handed over once with `Engine.submit`, and read again after
    `Engine.completed` has returned it. An empty one is a barrier.
    """

    def __init__(self, ledger: Ledger, count_max: int, keeps_names: bool = True) -> None: ...
    def __len__(self) -> int: ...
    @property
    def is_full(self) -> bool: ...
    @property
    def failed(self) -> bool:
        """True if the journal failed under it: the outcomes are unknown, and must not be told."""

    @property
    def late_count(self) -> int:
        """How many of its transfers are DEADLINE_PASSED, once it has completed."""

    @property
    def segment_hash(self) -> int:
        """What names the segment of its first source: this, modulo the number of segments."""

    @property
    def stamps(self) -> tuple[int, int, int, int]:
        """When it was submitted, taken by who applies it, applied, and durable.

        By time.monotonic_ns(), once it has completed; zeros where the engine does not measure.
        """

    def add(
        self, client: str, key: str, source: str, target: str, amount: int, memo: str | None = None
    ) -> int:
        """Add a transfer and return its index.

        `client` is the scope of the key (0-255 bytes), `key` 1-255 visible ASCII characters,
        `source` and `target` account ids, `amount` 1 to 2**63-1 minor units, `memo` at most
        256 bytes of UTF-8. Raises InvalidArgument, or QueueFull if the submission is full.
        """

    def limit_time(self, deadline_ns: int, index: int | None = None) -> None:
        """Have the transfer at `index`, or all so far, applied before a time or not at all.

        By time.monotonic_ns(). What the kernel has not taken by then it never takes. It is answered
        from its key where that is known already; otherwise its status is DEADLINE_PASSED: nothing
        is stored. 0 takes a deadline away.
        """

    def sum_new(self) -> int:
        """The sum of what it has moved, once it has completed; at most 2**63-1."""

    def sum_late(self) -> int:
        """The sum of what is DEADLINE_PASSED, once it has completed, each key once; as above."""

    def renew(self) -> None:
        """Let a submission that has completed be submitted, as if it never had been."""

    def outcome(self, index: int) -> Outcome: ...
    def asset(self, index: int) -> str | None:
        """The asset of the transfer, None where an account of it did not exist."""
