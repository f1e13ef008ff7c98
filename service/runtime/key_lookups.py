"""Key lookups: before a limit refuses a request, its keys are looked up.

This module owns when that happens. A limit refuses only what is new, and what is new can be told
only once it is known what became of all that came before. So the invariant is:

    A key is looked up after everything has completed that was admitted before its request, in
    whatever segment, and be it in the same turn of the loop.

There the first copy of a request may be: open, in a queue, in another worker's hands, or in a
request of many transfers, whose segment is that of the first of them. What comes in later is not
waited for. It goes by rounds: a round takes all that is there, waits for what is under way then,
and looks up; who comes meanwhile is of the next. So nobody waits for more than two rounds, and
however many requests are refused, one set is kept of what is waited for.

It never applies anything, and never says what a refusal is.
"""

from collections.abc import Callable, Mapping

from ledgercore import LedgerError, Submission

from ..engine_port import EnginePort
from .open_batch import OpenBatch

ROWS_MAX = 65_536
"""How many single requests may wait for a look; what goes beyond is refused as overload is."""


class KeyLookups:
    """The key lookups of one batcher, given the waiters of its submissions under way.

    `on_failure` is called with what could not be looked up, and why. Used in the event loop only.
    """

    def __init__(
        self,
        engine: EnginePort,
        under_way: Mapping[Submission, object],
        on_failure: Callable[[Submission, LedgerError], None],
    ) -> None:
        self._engine = engine
        self._under_way = under_way
        self._on_failure = on_failure
        self.batch = OpenBatch(-1)
        """Where single requests come in that are to be looked up."""
        self._own: dict[Submission, bool] = {}
        self._gathered: list[Submission] = []
        self._round: list[Submission] = []
        self._awaited: set[Submission] = set()

    def open(self) -> Submission | None:
        """Return a new submission for the batch; None where one is open."""
        if self.batch.submission is not None:
            return None
        # One row more, so that it is never full for who puts rows in.
        submission = self._engine.new_submission(ROWS_MAX + 1)
        self.batch.submission, self.batch.waiters = submission, []
        self.add(submission, is_new=True)
        return submission

    @property
    def is_full(self) -> bool:
        """Whether the batch takes no more."""
        submission = self.batch.submission
        return submission is not None and len(submission) >= ROWS_MAX

    def add(self, submission: Submission, *, is_new: bool) -> None:
        """Have a submission looked up: a new one, or what is late in one that has completed."""
        self._own[submission] = is_new
        self._gathered.append(submission)

    def has(self, submission: Submission) -> bool:
        """Whether it is to be looked up, or has been."""
        return submission in self._own

    def take_out(self, submission: Submission) -> bool:
        """Forget a submission that is answered; whether it was new, and nothing was charged."""
        return self._own.pop(submission, False)

    def note(self, submission: Submission) -> None:
        """Note that something has completed."""
        self._awaited.discard(submission)

    def move_on(self) -> None:
        """Look up what waits for nothing any more, and begin the next round."""
        while not self._awaited and (self._round or self._gathered):
            done, self._round, self._gathered = self._round, self._gathered, []
            self.batch.submission = None
            if self._round:
                self._awaited = {each for each in self._under_way if each not in self._own}
            for submission in done:
                self._look_up(submission)

    def _look_up(self, submission: Submission) -> None:
        try:
            self._engine.look_up(submission)
        except LedgerError as error:
            self._on_failure(submission, error)
