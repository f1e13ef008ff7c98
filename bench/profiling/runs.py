"""What is profiled, and how it is run: stages and the server, each plain and under a profiler.

This module owns the processes, all of which are gone when a function returns. A plain run comes
first and is the truth about the speed; what a profiler adds belongs to no figure.
"""

import json
import math
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledgercore.client import LedgerClient
from ledgercore.service.profiling.py_spy import (
    RATE_HZ_MAX,
    SamplingRefused,
    explain_missing,
    explain_refusal,
    find_sampler,
    make_command,
)
from ledgercore.service.profiling.stacks import read_thread_names

from ..machine import ROOT, CpuTimes, pick_cores, read_thread_times
from ..processes import (
    DEADLINE_S,
    SERVICE,
    Process,
    ProcessFailed,
    Server,
    python,
    run,
    run_successfully,
)
from .line_profile import Profile, read_profile, render_page, shorten_paths

ACCOUNTS = 1_000
SETTLING_S = 0.5
"""How long a load runs before anything is looked at, and how long it goes on afterwards.

These sleeps wait for no condition: they are how long a measurement lasts.
"""

RATE_HZ = RATE_HZ_MAX
GRACE_S = 60.0
"""How long py-spy may take to begin and to find the names, besides the time that it samples."""
SAMPLER_START_S = 2.0
"""How much longer a load runs under py-spy, which reads the symbols of all libraries first."""

SWITCH_ON, SWITCH_OFF = signal.SIGILL, signal.SIGBUS
"""What `python -m scalene.profile --on` and `--off` send; the first would end another process."""

SCALENE = (
    "--off",
    "--cpu-only",
    "--no-stacks",
    f"--program-path={ROOT}",
    "--profile-only=bench/stages/,service/,ledgercore/",
    # Its thread sleeps inside of one native call, and Scalene would take that for work.
    "--profile-exclude=housekeeping",
    "--cpu-percent-threshold=0",
)
"""Time only, of the project's own files. A library's time counts for the line that called it."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What a plain run did: how many in a second, and the processor time of one of them."""

    transfers: int
    rate: float
    cpu_us: float


# -- stages ---------------------------------------------------------------------------------------
def time_stage(stage: str, transfers: int | None) -> Speed:
    """Run a stage without a profiler."""
    result = _run_module("bench.profiling.target", *_name_target(stage, transfers))
    count = int(result["transfers"])
    return Speed(count, count / float(result["wall_s"]), float(result["cpu_s"]) / count * 1e6)


def profile_stage(stage: str, transfers: int | None, path: Path) -> Profile:
    """Run the same work under Scalene, and keep its JSON and its page."""
    target = ("-m", "bench.profiling.target", "---", *_name_target(stage, transfers))
    # Batches of thousands are soon done; ten times the usual rate sees where their time goes.
    flags = (*SCALENE, "--cpu-sampling-rate=0.001", f"--outfile={path}")
    path.unlink(missing_ok=True)
    _run_module("bench.profiling.launch", *flags, *target, "--profiled")
    return _keep(path)


def _name_target(stage: str, transfers: int | None) -> tuple[str, ...]:
    return (stage,) if transfers is None else (stage, f"--transfers={transfers}")


def _run_module(module: str, *flags: str) -> Any:
    """Run a module to its end on the core of what is measured; return the JSON that it prints."""
    told = run_successfully(f"{module} {flags[-1]}", python(module, *flags), core=pick_cores()[0])
    return json.loads(told.splitlines()[0])


def _keep(path: Path) -> Profile:
    """Return the profile that Scalene has just written, once it can be shown to others."""
    if path.exists():
        shorten_paths(path)
    profile = read_profile(path)
    render_page(path)
    return profile


# -- the server -----------------------------------------------------------------------------------
class Load(Process):
    """The simulator's clients on a server, from the other core; made once they are at work.

    It asks no key again at the end: that is load too, and would be profiled. An interrupt ends it
    before its time, and with it the processes that it has started.
    """

    def __init__(self, url: str, seconds: float, connections: int, log: Path) -> None:
        flags = (f"--seconds={seconds}", f"--clients={connections}", f"--accounts={ACCOUNTS}")
        command = python("bench", "simulate", url, *flags, "--quiet", "--json", "--no-check")
        lsn = _read_lsn(url) + connections
        core = pick_cores()[1]
        super().__init__(core, command, log, name="the simulator", stop_signal=signal.SIGINT)
        self._deadline_s = seconds + DEADLINE_S
        self.wait_for(lambda: _read_lsn(url) >= lsn)

    def finish(self) -> tuple[int, float]:
        """Wait for the end; return how many transfers were applied, and how many a second."""
        self.wait(self._deadline_s)
        result = json.loads(self.printed)
        applied = int(result["statuses"].get("201", 0))
        return applied, applied / float(result["seconds"])


def _read_lsn(url: str) -> int:
    """Return how many records the ledger of a server has."""
    with LedgerClient(url) as client:
        return client.audit(journal=False).lsn


def open_server(scratch: Path, name: str, *launcher: str) -> Server:
    """Start a durable server on the core of what is measured, behind a launcher if there is one."""
    module, *serve = SERVICE
    command = (*launcher, "-m", module, "---", *serve) if launcher else SERVICE
    flags = (f"--demo-accounts={ACCOUNTS}", f"--data={scratch / name}")
    return Server(pick_cores()[0], *command, *flags, log=scratch / f"{name}.log")


def time_server(scratch: Path, seconds: float, connections: int) -> Speed:
    """Put load on a server without a profiler."""
    with open_server(scratch, "plain") as server:
        cpu_s = server.cpu_s
        with Load(server.url, seconds, connections, scratch / "load") as load:
            applied, rate = load.finish()
        return Speed(applied, rate, (server.cpu_s - cpu_s) / max(applied, 1) * 1e6)


def profile_server(scratch: Path, seconds: float, connections: int, path: Path) -> Profile:
    """Put load on a server under Scalene, which looks only meanwhile; keep its JSON and page."""
    launcher = ("bench.profiling.launch", *SCALENE, f"--outfile={path}")
    total_s = seconds + 2 * SETTLING_S
    path.unlink(missing_ok=True)
    with (
        open_server(scratch, "scalene", *launcher) as server,
        Load(server.url, total_s, connections, scratch / "load") as load,
    ):
        time.sleep(SETTLING_S)  # How long the load has to settle; nothing tells when it has.
        server.send_signal(SWITCH_ON)
        time.sleep(seconds)  # This is how long the profile is of.
        server.send_signal(SWITCH_OFF)
        load.finish()
    # Scalene writes at the very end of the process, which the block has waited for.
    return _keep(path)


def sample_server(
    scratch: Path, seconds: float, connections: int
) -> tuple[str, dict[str, float], float]:
    """Put load on a server, and sample it meanwhile. Raises SamplingRefused.

    Returns what py-spy wrote, the processor time of each thread meanwhile by its name, and how many
    transfers were applied in a second.

    py-spy shares the core of the load, which needs little of it.
    """
    core = pick_cores()[1]
    with open_server(scratch, "sampled") as server:
        pid = server.pid
        total_s = math.ceil(seconds) + SAMPLER_START_S
        with Load(server.url, total_s, connections, scratch / "load") as load:
            time.sleep(SETTLING_S)  # As above.
            before = read_thread_times(pid)
            text = sample_stacks(pid, seconds, scratch / "stacks.txt", core=core)
            after = read_thread_times(pid)
            _, rate = load.finish()
    names = {int(number): name for number, name in read_thread_names(text).items()}
    nothing = CpuTimes(0.0, 0.0)
    spent = {
        name: (after[number] - before.get(number, nothing)).total_s
        for number, name in names.items()
        if number in after
    }
    return text, spent, rate


def sample_stacks(
    pid: int,
    seconds: float,
    path: Path,
    sampler: Sequence[str] | None = None,
    core: int | None = None,
) -> str:
    """Sample all threads of a process into a file, and return its text, py-spy's raw format.

    Raises SamplingRefused where py-spy is not there, or may not.
    """
    command = make_command(sampler or find_sampler(), pid, math.ceil(seconds), RATE_HZ, path)
    try:
        ended = run(command, core=core, deadline_s=seconds + GRACE_S)
    except FileNotFoundError:
        raise SamplingRefused(f"No flame graph: {explain_missing()}") from None
    except ProcessFailed:
        raise SamplingRefused("No flame graph: py-spy did not come to an end.") from None
    if ended.returncode != 0 or not path.exists():
        raise SamplingRefused(f"No flame graph: {explain_refusal(ended.stdout + ended.stderr)}")
    return path.read_text()
