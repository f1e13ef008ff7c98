"""Recorders: what many threads record at once is all there, and a reader sees no more than that."""

import threading

import numpy as np

from ledgercore import Recorder

THREADS, TIMES = 4, 200_000


def test_many_threads_lose_no_count() -> None:
    recorder = Recorder()
    values = np.arange(TIMES)
    start = threading.Barrier(THREADS)

    def record() -> None:
        start.wait()
        recorder.record_each(values)

    threads = [threading.Thread(target=record) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    seen = 0
    while any(thread.is_alive() for thread in threads):
        count = recorder.read().count
        assert seen <= count <= THREADS * TIMES
        seen = count
    for thread in threads:
        thread.join()
    told = recorder.read()
    assert (told.count, told.sum) == (THREADS * TIMES, THREADS * int(values.sum()))


def test_value_counts_as_often_as_is_said() -> None:
    recorder = Recorder()
    recorder.record(7, 3)
    recorder.record(-7)
    assert (recorder.read().count, recorder.read().sum) == (4, 21)
    assert (recorder.read().counts[7], recorder.read().counts[0]) == (3, 1)


def test_cleared_recorder_holds_nothing() -> None:
    recorder = Recorder()
    recorder.record(7)
    recorder.clear()
    assert (recorder.read().count, recorder.read().sum) == (0, 0)
