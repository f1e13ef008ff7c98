"""The worker threads of an engine: started, retired and joined, per segment.

It owns the threads and how many of them each segment is to have. It never decides how many that
should be, and never touches a submission: a worker that is retired takes no other batch, so
none can be lost with it.
"""

import threading

from .errors import EngineClosed
from .executor import Executor
from .types import SegmentLoad
from .validation import check_range


class Workers:
    """The workers of all segments. Any thread may call anything."""

    def __init__(self, executor: Executor, workers_max: int) -> None:
        self._executor = executor
        self._workers_max = workers_max
        self._lock = threading.Lock()
        self._is_closed = False
        self._counts = [0] * executor.segments
        self._threads: list[threading.Thread] = []
        self._number = 0

    @property
    def counts(self) -> list[int]:
        """How many workers each segment is to have, without those that were retired."""
        return self._counts.copy()

    def set_count(self, segment: int, count: int) -> None:
        """Start or retire workers of a segment until it has `count`, 1 to `workers_max`.

        Raises InvalidArgument, EngineClosed, and RuntimeError where the system has no more threads;
        what could be started by then stays.
        """
        segment = check_range("segment", segment, 0, len(self._counts) - 1)
        count = check_range("count", count, 1, self._workers_max)
        with self._lock:
            if self._is_closed:
                raise EngineClosed("the engine is closed")
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            while self._counts[segment] < count:
                self._start(segment)
            self._executor.retire(segment, self._counts[segment] - count)
            self._counts[segment] = count

    def replace(self, segment: int) -> None:
        """Start a worker of a segment and let another end, as soon as it has finished its batch.

        Raises as `set_count`; where no thread can be started, none ends.
        """
        segment = check_range("segment", segment, 0, len(self._counts) - 1)
        with self._lock:
            if self._is_closed:
                raise EngineClosed("the engine is closed")
            self._threads = [thread for thread in self._threads if thread.is_alive()]
            self._start(segment)
            self._executor.retire(segment, 1)
            self._counts[segment] -= 1

    def _start(self, segment: int) -> None:
        """Start a thread: it takes the GIL once to get going, and once more when it ends."""
        worker = threading.Thread(
            target=self._executor.run_worker,
            args=(segment,),
            daemon=True,
            name=f"worker-{segment}-{self._number}",
        )
        self._number += 1
        worker.start()
        self._threads.append(worker)
        self._counts[segment] += 1

    def loads(self) -> tuple[SegmentLoad, ...]:
        """What each segment has to do now, and who does it."""
        return tuple(
            SegmentLoad(depth, workers, busy_ns)
            for segment, workers in enumerate(self.counts)
            for depth, busy_ns in (self._executor.load(segment),)
        )

    def join(self) -> None:
        """Wait until all workers have ended, once the executor is closed; none starts again."""
        with self._lock:
            self._is_closed = True
        for thread in self._threads:
            thread.join()
