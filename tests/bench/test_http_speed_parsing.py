"""What wrk and perf print is read as it is meant: real outputs, and what is wrong with others."""

from collections import Counter
from pathlib import Path

import pytest

from bench.http_speed.profile import (
    Frame,
    Kind,
    class_sample,
    count_kinds,
    name_threads,
    read_samples,
    sum_up,
)
from bench.load.generators import Load, LoadFailed, read_output
from bench.machine import CpuTimes

COUNT = 540_000
WRK_LINE = (
    '{"requests":235632,"duration_us":3001432,"p50_us":765,"p99_us":1679,"cpu_s":2.169014,'
    '"is_exhausted":false,"errors":{"connect":0,"read":0,"write":0,"status":0,"timeout":0}}'
)
WRK_OUTPUT = f"""\
Running 3s test @ http://127.0.0.1:8197
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   802.35us  266.05us   7.32ms   96.66%
    Req/Sec    79.05k     6.31k   86.05k    80.00%
  235632 requests in 3.00s, 60.23MB read
Requests/sec:  78506.55
Transfer/sec:     20.07MB
{WRK_LINE}
"""

LIBC, KERNEL = "/usr/lib/x86_64-linux-gnu/libc.so.6", "[kernel.kallsyms]"
# What `perf script` wrote of a server under load: a sample of each kind, in the order of the kinds.
PERF_OUTPUT = Path(__file__).with_name("perf_script.txt").read_text()
STACKS = dict(
    zip(Kind, (f"{block}\n" for block in PERF_OUTPUT.strip("\n").split("\n\n")), strict=True)
)


# -- wrk ------------------------------------------------------------------------------------------


def test_the_output_of_wrk_is_read() -> None:
    load = read_output(WRK_OUTPUT, COUNT)
    assert load == Load(235_632, 3.001432, 0.765, 1.679, 2.169014 / 3.001432)
    assert load.rate == pytest.approx(78_506.55)
    assert not load.is_bottleneck


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('"status":0', '"status":3', "wrk met errors: {'status': 3}"),
        ('"read":0', '"read":1', "wrk met errors: {'read': 1}"),
        ('"timeout":0', '"timeout":64', "wrk met errors: {'timeout': 64}"),
        ('"is_exhausted":false', '"is_exhausted":true', "540,000 requests that were got ready"),
        ('"requests":235632', '"requests":540001', "540,000 requests that were got ready"),
        ('"requests":235632', '"requests":0', "wrk had no answer"),
        ('"p99_us":1679,', "", "p99_us"),
        ('"p99_us":1679', '"p99_us":1679,"more":1', "more"),
        ('"p99_us":1679', '"p99_us":"1679"', "p99_us"),
        (WRK_LINE, "", "0 lines of JSON"),
        (WRK_LINE, f"{WRK_LINE}\n{WRK_LINE}", "2 lines of JSON"),
    ],
)
def test_an_output_of_wrk_that_is_no_success_fails(right: str, wrong: str, said: str) -> None:
    assert right in WRK_OUTPUT
    with pytest.raises(LoadFailed, match=said):
        read_output(WRK_OUTPUT.replace(right, wrong), COUNT)


# -- perf -----------------------------------------------------------------------------------------


def test_the_text_of_perf_is_read() -> None:
    one, other = read_samples(f"{STACKS[Kind.ENGINE]}\npython 7 \n\n{STACKS[Kind.SOCKET_READ]}\n")
    assert (one.thread, len(one.frames), other.thread, len(other.frames)) == (15459, 2, 15459, 6)
    assert other.frames[0] == Frame("sock_read_iter", KERNEL)
    assert other.frames[-1] == Frame("read", LIBC)
    assert list(read_samples("")) == []


def test_the_name_of_a_thread_may_hold_spaces_and_numbers() -> None:
    stack = STACKS[Kind.POLL].replace("python 15459", "worker 3 of 4 15470")
    assert [sample.thread for sample in read_samples(stack)] == [15470]


@pytest.mark.parametrize("kind", list(Kind), ids=lambda kind: kind.value)
def test_a_stack_is_of_its_kind(kind: Kind) -> None:
    (sample,) = read_samples(STACKS[kind])
    assert class_sample(sample.frames) is kind


@pytest.mark.parametrize(
    ("frames", "kind"),
    [
        # A thread that lost the core on its way out of a write has handed it over.
        (
            [("schedule", KERNEL), ("exit_to_user_mode_loop", KERNEL), ("write", LIBC)],
            Kind.HAND_OVER,
        ),
        ([("do_epoll_wait", KERNEL), ("schedule", KERNEL)], Kind.POLL),
        ([("futex_wait", KERNEL), ("__x64_sys_futex", KERNEL)], Kind.HAND_OVER),
        ([("__x64_sys_pwrite64", KERNEL)], Kind.SYNC),
        ([("vfs_write", KERNEL), ("ksys_write", KERNEL)], Kind.SOCKET_WRITE),
        # In and out of the system: it is whose call it is.
        ([("do_syscall_64", KERNEL), ("__GI___libc_write", LIBC)], Kind.SOCKET_WRITE),
        ([("do_syscall_64", KERNEL), ("fdatasync", LIBC)], Kind.SYNC),
        ([("__GI___pthread_mutex_unlock_usercnt", LIBC)], Kind.HAND_OVER),
        ([("pthread_cond_signal@@GLIBC_2.3.2", LIBC)], Kind.HAND_OVER),
        ([("__memcpy", LIBC), ("f", "/x/ledgercore/keys.cpython-311.so")], Kind.ENGINE),
        ([("__memcpy", LIBC), ("[unknown]", "[unknown]"), ("f", "/x/service/a.so")], Kind.OTHER),
        ([("_PyEval", "/usr/lib/libpython3.11.so.1.0")], Kind.PYTHON),
        ([("_PyEval", "/usr/bin/python3.11")], Kind.PYTHON),
        ([("f", "/x/ledgercore/service/wire.so")], Kind.SERVICE),
        ([("asm_sysvec_apic_timer_interrupt", KERNEL), ("f", "/x/service/wire.so")], Kind.SERVICE),
        ([("__x64_sys_accept4", KERNEL), ("accept4", LIBC)], Kind.OTHER),
    ],
)
def test_other_stacks_are_of_a_kind(frames: list[tuple[str, str]], kind: Kind) -> None:
    assert class_sample(tuple(Frame(*frame) for frame in frames)) is kind


def test_samples_become_shares_of_a_request() -> None:
    text = "\n".join([STACKS[Kind.SOCKET_WRITE]] * 3 + [STACKS[Kind.SYNC]])
    samples = list(read_samples(text))
    assert count_kinds(samples) == Counter({Kind.SOCKET_WRITE: 3, Kind.SYNC: 1})
    assert name_threads(samples) == {15459: "sockets: write", 15464: "journal: write and sync"}
    before = {15459: CpuTimes(1.0, 1.0)}
    after = {15459: CpuTimes(1.5, 1.3), 15464: CpuTimes(0.0, 0.2), 15465: CpuTimes(0.0, 0.0)}
    load = Load(100_000, 2.0, 1.0, 2.0, 0.5)
    profile = sum_up(64, load, before, after, samples, "", main_thread=15459)
    assert [thread.name for thread in profile.threads] == [
        "event loop, mostly sockets: write",
        "thread 5, mostly journal: write and sync",
    ]
    assert profile.cpu_us == pytest.approx(10)
    told = {row.name: (row.share, pytest.approx(row.cpu_us)) for row in profile.kinds if row.share}
    assert told == {"sockets: write": (0.75, 7.5), "journal: write and sync": (0.25, 2.5)}
    bare = sum_up(64, load, before, after, [], "No profile: perf is not installed.", main_thread=1)
    assert bare.kinds == [] and len(bare.threads) == 2
