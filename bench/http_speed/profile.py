"""Where the time of the durable server goes while it is under load.

How each thread's time divides is always told, from the system's own counts; what it went into is
told by perf, where perf is there and may. This module owns the load that is profiled, how perf is
started and read, and what a sample was spent on. The system's time belongs to the call that asked
for it, which is on the stack; code belongs to the file that it is compiled into. perf follows frame
pointers, which libpython and libc do not keep, so of a stack outside of the system only the inner
end is sure: what runs in libc counts for whoever is seen to have called it, and else as the rest.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ..load.generators import Load, LoadFailed
from ..machine import CpuTimes, read_process_cpu, read_thread_times
from ..processes import ProcessFailed, run_successfully, wait_until
from .subjects import Setting, Subject

WORKING_S = 0.1
"""A server that has had so much of a processor is under load."""
SETTLING_S = 1.5
"""How much longer the load lasts than the look at it, before and after together."""
RATE_HZ = 999
"""Not a round number, or what happens a thousand times a second would be seen always or never."""
GRACE_S = 60.0

FRAME = re.compile(r"\s*[0-9a-f]+ (?P<symbol>.*) \((?P<file>.*)\)")
HEAD = re.compile(r".*?(?P<thread>\d+)\s*")


class PerfRefused(Exception):
    """perf saw nothing; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A function on a stack, and the file that it is in; the system's is `[kernel.kallsyms]`."""

    symbol: str
    file: str


@dataclass(frozen=True, slots=True)
class Sample:
    """What a thread was at: its frames from the inside out."""

    thread: int
    frames: tuple[Frame, ...]


def record(core: int, pid: int, seconds: float, scratch: Path) -> list[Sample]:
    """Sample all threads of a process, from another core. Raises PerfRefused."""
    data = scratch / "perf.data"
    flags = ("-g", "-F", str(RATE_HZ), "-p", str(pid), "-o", str(data))
    _run(core, ("perf", "record", *flags, "--", "sleep", str(seconds)), seconds)
    # A line of each sample, one for each frame, and an empty one.
    told = _run(core, ("perf", "script", "-i", str(data), "-F", "comm,tid,ip,sym,dso"), seconds)
    samples = list(read_samples(told))
    if not samples:
        raise PerfRefused("No profile: perf took no samples.")
    return samples


def _run(core: int, command: tuple[str, ...], seconds: float) -> str:
    try:
        return run_successfully("perf", command, core=core, deadline_s=seconds + GRACE_S)
    except FileNotFoundError:
        raise PerfRefused("No profile: perf is not installed.") from None
    except ProcessFailed as error:
        raise PerfRefused(f"No profile: {str(error).splitlines()[0]}") from None


def read_samples(text: str) -> Iterator[Sample]:
    """Yield what `perf script` has written, sample by sample; one without frames is left out."""
    for block in text.split("\n\n"):
        head, *lines = block.strip("\n").split("\n")
        named = HEAD.fullmatch(head)
        found = [FRAME.fullmatch(line) for line in lines]
        frames = tuple(Frame(one["symbol"], one["file"]) for one in found if one is not None)
        if named is not None and frames:
            yield Sample(int(named["thread"]), frames)


# -- what a sample was spent on --------------------------------------------------------------------
class Kind(Enum):
    """What time goes into. The value is what a table calls it."""

    SOCKET_WRITE = "sockets: write"
    SOCKET_READ = "sockets: read"
    POLL = "poll"
    SYNC = "journal: write and sync"
    HAND_OVER = "thread hand-over"
    ENGINE = "engine"
    SERVICE = "parser, rows and answers"
    PYTHON = "Python and its loop"
    OTHER = "other"


KERNEL = "[kernel"
SYSTEM_RULES = (
    (Kind.SYNC, re.compile(r"__x64_sys_(fdatasync|fsync|pwrite64|pwritev2?|fallocate)")),
    # An eventfd and a socket are written by the same system call, so the longer way comes first.
    (Kind.HAND_OVER, re.compile(r"eventfd_\w+|(__x64_sys_|do_)futex\w*|__x64_sys_sched_yield")),
    (Kind.POLL, re.compile(r"(__x64_sys|do)_epoll_\w+")),
    (Kind.SOCKET_WRITE, re.compile(r"ksys_write|sock_write_iter|__x64_sys_(writev?|send\w+)")),
    (Kind.SOCKET_READ, re.compile(r"ksys_read|sock_read_iter|__x64_sys_(readv?|recv\w+)")),
    # None of the above, but the processor was given to another thread: one was woken.
    (Kind.HAND_OVER, re.compile(r"schedule|asm_sysvec_reschedule_ipi")),
)
"""The first that matches any function of the system on the stack."""

WRAPPER_RULES = (
    (Kind.SYNC, re.compile(r"(fdatasync|pwrite64|pwrite)")),
    (Kind.HAND_OVER, re.compile(r"pthread_(mutex|cond)_\w+|lll_\w+|futex\w*")),
    (Kind.POLL, re.compile(r"epoll_p?wait")),
    (Kind.SOCKET_WRITE, re.compile(r"write")),
    (Kind.SOCKET_READ, re.compile(r"read")),
)
"""Functions of libc that go into the system, without the ornaments of their names."""
ORNAMENTS = re.compile(r"^(__GI_)?_*(libc_)?|@.*$")

FILE_RULES = (
    (Kind.ENGINE, re.compile(r"/ledgercore/[^/]*\.so")),
    (Kind.SERVICE, re.compile(r"/service/.*\.so")),
    (Kind.PYTHON, re.compile(r"/(lib)?python[\d.]*(\.so[\d.]*)?$|/uvloop/|/lib-dynload/")),
    (Kind.PYTHON, re.compile(r"/site-packages/.*\.so")),
)


def class_sample(frames: tuple[Frame, ...]) -> Kind:
    """Return what a sample was spent on, from its frames, the inner one first."""
    inner = [frame.symbol for frame in frames if frame.file.startswith(KERNEL)]
    for kind, rule in SYSTEM_RULES:
        if any(rule.fullmatch(symbol) for symbol in inner):
            return kind
    # The way into the system and out of it has no name of a call, but the caller's has.
    for frame in frames[len(inner) :]:
        found = _class_code(frame)
        if found is not None:
            return found
        if "libc" not in frame.file:
            break
    return Kind.OTHER


def _class_code(frame: Frame) -> Kind | None:
    """Return what a function outside of the system belongs to, None if that is its caller."""
    for kind, rule in FILE_RULES:
        if rule.search(frame.file):
            return kind
    name = ORNAMENTS.sub("", frame.symbol)
    for kind, rule in WRAPPER_RULES:
        if rule.fullmatch(name):
            return kind
    return None


def count_kinds(samples: Iterable[Sample]) -> Counter[Kind]:
    """Return how many samples each kind has."""
    return Counter(class_sample(sample.frames) for sample in samples)


def name_threads(samples: Iterable[Sample]) -> dict[int, str]:
    """Return what each thread mostly does, by its number."""
    counts: dict[int, Counter[Kind]] = {}
    for sample in samples:
        counts.setdefault(sample.thread, Counter())[class_sample(sample.frames)] += 1
    return {thread: count.most_common(1)[0][0].value for thread, count in counts.items()}


# -- the profile ----------------------------------------------------------------------------------
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
        wait_until(
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
