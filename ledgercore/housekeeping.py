"""What the journal of files needs now and then: the next segment made ahead, snapshots, the scrub.

One thread, which sleeps until half of a segment is used, and that of the scrub (scrubbing.py).
"""

import logging
import subprocess
import threading
from contextlib import suppress

from .directory import DataDirectory
from .headroom import check_helper_fits
from .helper_process import describe_end, start_helper
from .journal import FileJournal
from .scrubbing import Scrub
from .store import StoreOptions
from .types import ScrubState

FAILURE = "ledgercore: no snapshot: "
"""How a process that makes snapshots begins the line that says why it could not."""

logger = logging.getLogger("ledgercore")

TELL_S = 0.1


class Housekeeper:
    """Prepares segments, and starts a process that makes a snapshot every so many of them."""

    def __init__(
        self, journal: FileJournal, directory: DataDirectory, options: StoreOptions
    ) -> None:
        self.journal = journal
        self.directory = directory
        self.options = options
        self.snapshotter: subprocess.Popen[str] | None = None
        self.is_ending = False
        self.scrub = Scrub(
            journal,
            directory,
            interval_s=options.scrub_interval_s,
            rate_bytes_per_s=options.scrub_bytes_per_s,
        )
        self.thread = threading.Thread(target=self.run, daemon=True, name="housekeeper")
        self.thread.start()
        try:
            self.scrub.start()
        except BaseException:
            self.stop()
            raise

    @property
    def scrub_state(self) -> ScrubState:
        """What was read again, and found damaged."""
        return self.scrub.state

    def run(self) -> None:
        """Make a spare whenever one is wanted, until the journal stops.

        The ledger goes on without snapshots; so what goes wrong with them is only told.
        """
        try:
            while self.journal.prepare_spare():
                self.look_after_snapshots()
        finally:
            # Whatever ends this thread: from here on the journal makes its segments itself.
            self.journal.stop_spares()

    def look_after_snapshots(self) -> None:
        """Start a snapshot if one is due; nothing that goes wrong with it may stop the ledger."""
        try:
            if self.snapshot_is_due():
                self.start_snapshot()
        except Exception as error:
            log_failure(getattr(error, "strerror", None) or str(error))

    def snapshot_is_due(self) -> bool:
        """Whether `snapshot_every` segments were filled since the newest snapshot was made."""
        if self.options.snapshot_every == 0:
            return False
        if self.snapshotter is not None and self.snapshotter.poll() is None:
            return False
        newest = next(iter(self.directory.snapshot_paths()), None)
        covered = 0 if newest is None else int(newest.stem)
        # The oldest of the last `snapshot_every` sealed segments: is it news to the snapshot?
        sealed = self.directory.segment_paths()[:-1]
        if len(sealed) < self.options.snapshot_every:
            return False
        oldest = self.directory.read_header(sealed[-self.options.snapshot_every])
        return oldest.first_lsn > covered

    def start_snapshot(self) -> None:
        """Make a snapshot in another process; what it has to say goes to our stderr."""
        self.report_snapshot()
        check_helper_fits()
        options = self.options
        self.snapshotter = start_helper(
            "snapshot", str(self.directory.path), options.accounts_max, options.keys_max
        )

    def report_snapshot(self) -> None:
        """Pass on why the last snapshot failed, if it did: the ledger goes on without it."""
        if self.snapshotter is not None:
            _, problem = self.snapshotter.communicate()
            if self.snapshotter.returncode != 0 and not self.is_ending:
                log_failure(describe_end(self.snapshotter, problem).removeprefix(FAILURE))
            self.snapshotter = None

    def stop(self) -> None:
        """End the thread, and a snapshot that is being made: the next start makes it again."""
        self.scrub.stop()
        # A helper ends with the thread, and what it had not done by now is no failure.
        self.is_ending = self.snapshotter is None or self.snapshotter.poll() is None
        self.journal.stop_spares()
        self.thread.join()
        if self.snapshotter is not None and self.snapshotter.poll() is None:
            self.snapshotter.terminate()
        self.report_snapshot()


def log_failure(reason: str) -> None:
    """Tell in the log why no snapshot was made: the ledger goes on without it.

    It waits no longer than a moment for whoever reads the log: a pipe that nobody reads would hold
    this thread, and with it the journal's next segment.
    """
    telling = threading.Thread(
        target=logger.warning,
        args=("no snapshot: %s", reason),
        kwargs={"extra": {"event": "no-snapshot"}},
        daemon=True,
        name="telling",
    )
    # Without the memory for a thread it is not told: this one has more to do than that.
    with suppress(RuntimeError):
        telling.start()
        telling.join(TELL_S)
