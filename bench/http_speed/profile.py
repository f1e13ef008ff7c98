"""Where the time of the durable server goes while it is under load.

This module owns the load that is profiled, and turns shares of samples into microseconds a request.
How each thread's time divides is always told, from the system's own counts; what it went into is
told by perf, where perf is there and may.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..load.generators import Load, LoadFailed
from ..machine import CpuTimes, read_process_cpu, read_thread_times
from ..processes import wait_for
from .perf import Kind, PerfRefused, Sample, count_kinds, name_threads, record
from .subjects import Setting, Subject

WORKING_S = 0.1
"""A server that has had so much of a processor is under load."""
SETTLING_S = 1.5
"""How much longer the load lasts than the look at it, before and after together."""


@dataclass(frozen=True, slots=True)
class ThreadRow:
    """What a thread had of a processor, in microseconds of each request."""

    name: str
    user_us: float
    system_us: float


@dataclass(frozen=True, slots=True)
class KindRow:
    """What one kind of work had of the processor: of all samples, and of each request."""

    name: str
    share: float
    cpu_us: float


@dataclass(frozen=True, slots=True)
class Profile:
    """One load, and where the server's time went. `kinds` is empty where there are no samples."""

    connections: int
    rate: float
    cpu_us: float
    threads: list[ThreadRow]
    kinds: list[KindRow]
    samples: int
    note: str


def take_profile(
    subject: Subject, setting: Setting, connections: int, seconds: float, *, is_sampled: bool
) -> Profile:
    """Load a server, and look at it meanwhile. Raises LoadFailed."""
    samples: list[Sample] = []
    note = "" if is_sampled else "No profile was asked for."
    before = read_thread_times(subject.pid)
    cpu_before_s = read_process_cpu(subject.pid)
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(
            setting.generator, subject.url, connections, seconds + SETTLING_S, subject.headers
        )
        # Until the server is under load, or the load has failed before it began.
        wait_for(
            lambda: future.done() or read_process_cpu(subject.pid) >= cpu_before_s + WORKING_S,
            lambda: LoadFailed("the generator has put no load on the server"),
        )
        if is_sampled:
            try:
                samples = record(setting.load_core, subject.pid, seconds, setting.scratch)
            except PerfRefused as refusal:
                note = str(refusal)
        load = future.result()
    after = read_thread_times(subject.pid)
    return sum_up(connections, load, before, after, samples, note, main_thread=subject.pid)


def sum_up(
    connections: int,
    load: Load,
    before: dict[int, CpuTimes],
    after: dict[int, CpuTimes],
    samples: Sequence[Sample],
    note: str,
    *,
    main_thread: int,
) -> Profile:
    """Return the profile that a load, the threads' times around it, and samples of it make."""
    works = name_threads(samples)
    threads = []
    nothing = CpuTimes(0.0, 0.0)
    for number, times in sorted(after.items()):
        spent = times - before.get(number, nothing)
        if spent.total_s:
            name = "event loop" if number == main_thread else f"thread {number - main_thread}"
            mostly = f", mostly {works[number]}" if number in works else ""
            user_us, system_us = (
                each_s / load.requests * 1e6 for each_s in (spent.user_s, spent.system_s)
            )
            threads.append(ThreadRow(f"{name}{mostly}", user_us, system_us))
    cpu_us = sum(row.user_us + row.system_us for row in threads)
    counts = count_kinds(samples)
    shares = {kind: counts[kind] / len(samples) for kind in Kind if samples}
    kinds = [KindRow(kind.value, share, share * cpu_us) for kind, share in shares.items()]
    return Profile(connections, load.rate, cpu_us, threads, kinds, len(samples), note)
