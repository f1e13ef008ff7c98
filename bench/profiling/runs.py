"""What is profiled, and how it is run: stages and the server, each plain and under a profiler.

This module owns the processes, all of which are gone when a function returns. A plain run comes
first and is the truth about the speed; what a profiler adds belongs to no figure.
"""

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from ledgercore.client.loopback import make_options
from ledgercore.service.profiling.stacks import read_thread_names

from ..machine import ROOT, pick_cores, read_thread_times, run_on
from ..servers import SERVICE, Server, make_environment
from ..waiting import DEADLINE_S, wait_until
from .line_profile import Profile, read_profile, render_page, shorten_paths
from .sampling import sample_stacks

ACCOUNTS = 1_000
CONNECTIONS = 64
SETTLING_S = 0.5
"""How long a load runs before anything is looked at, and how long it goes on afterwards.

These sleeps wait for no condition: they are how long a measurement lasts.
"""

SAMPLER_START_S = 2.0
"""How much longer a load runs under py-spy, which reads the symbols of all libraries first."""

SIMULATE = (sys.executable, "-m", "bench", "simulate")

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


@dataclass(frozen=True, slots=True)
class Samples:
    """What py-spy wrote of a server under load, and its threads' processor time meanwhile."""

    text: str
    thread_cpu_s: dict[str, float]
    rate: float


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
    with run_on(pick_cores()[0]):
        ended = subprocess.run(
            [sys.executable, "-m", module, *flags],
            cwd=ROOT,
            env=make_environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
    if ended.returncode != 0:
        raise RuntimeError(f"{module} {flags[-1]} failed: {ended.stderr}")
    return json.loads(ended.stdout.splitlines()[0])


def _keep(path: Path) -> Profile:
    """Return the profile that Scalene has just written, once it can be shown to others."""
    if path.exists():
        shorten_paths(path)
    profile = read_profile(path)
    render_page(path)
    return profile


# -- the server -----------------------------------------------------------------------------------
class Load:
    """The simulator's clients on a server, from the other core; made once they are at work.

    It asks no key again at the end: that is load too, and would be profiled.
    """

    def __init__(self, url: str, seconds: float, connections: int) -> None:
        flags = (f"--seconds={seconds}", f"--clients={connections}", f"--accounts={ACCOUNTS}")
        before = _read_lsn(url)
        with run_on(pick_cores()[1]):
            self._process = subprocess.Popen(
                [*SIMULATE, url, *flags, "--quiet", "--json", "--no-check"],
                cwd=ROOT,
                env=make_environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        self._deadline_s = seconds + DEADLINE_S
        try:
            self._await_transfers(url, before + connections)
        except BaseException:
            self.stop()
            raise

    def _await_transfers(self, url: str, lsn: int) -> None:
        wait_until(
            lambda: self._process.poll() is not None or _read_lsn(url) >= lsn,
            lambda: RuntimeError("the simulator has sent no transfers"),
        )

    def finish(self) -> tuple[int, float]:
        """Wait for the end; return how many transfers were applied, and how many a second."""
        out, errors = self._process.communicate(timeout=self._deadline_s)
        if self._process.returncode != 0:
            raise RuntimeError(f"the simulator failed: {errors or out}")
        result = json.loads(out)
        applied = int(result["statuses"].get("201", 0))
        return applied, applied / float(result["seconds"])

    def stop(self) -> None:
        """End the load if it has not come to its end, and with it the processes it started."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def _read_lsn(url: str) -> int:
    """Return how many records the ledger of a server has."""
    answer = httpx.get(
        f"{url}/audit", params={"journal": "false"}, timeout=DEADLINE_S, **make_options(url)
    )
    return int(answer.raise_for_status().json()["lsn"])


@contextmanager
def open_server(scratch: Path, name: str, *launcher: str) -> Iterator[Server]:
    """Yield a durable server on the core of what is measured, behind a launcher if there is one."""
    module, *serve = SERVICE
    command = (*launcher, "-m", module, "---", *serve) if launcher else SERVICE
    flags = (f"--demo-accounts={ACCOUNTS}", f"--data={scratch / name}")
    with Server(pick_cores()[0], *command, *flags, log=scratch / f"{name}.log") as server:
        yield server


def time_server(scratch: Path, seconds: float, connections: int) -> Speed:
    """Put load on a server without a profiler."""
    with open_server(scratch, "plain") as server:
        cpu_s = server.cpu_s
        with Load(server.url, seconds, connections) as load:
            applied, rate = load.finish()
        return Speed(applied, rate, (server.cpu_s - cpu_s) / max(applied, 1) * 1e6)


def profile_server(scratch: Path, seconds: float, connections: int, path: Path) -> Profile:
    """Put load on a server under Scalene, which looks only meanwhile; keep its JSON and page."""
    launcher = ("bench.profiling.launch", *SCALENE, f"--outfile={path}")
    total_s = seconds + 2 * SETTLING_S
    path.unlink(missing_ok=True)
    with (
        open_server(scratch, "scalene", *launcher) as server,
        Load(server.url, total_s, connections) as load,
    ):
        time.sleep(SETTLING_S)  # How long the load has to settle; nothing tells when it has.
        server.process.send_signal(SWITCH_ON)
        time.sleep(seconds)  # This is how long the profile is of.
        server.process.send_signal(SWITCH_OFF)
        load.finish()
    # Scalene writes at the very end of the process, which the block has waited for.
    return _keep(path)


def sample_server(scratch: Path, seconds: float, connections: int) -> Samples:
    """Put load on a server, and sample it meanwhile. Raises SamplingRefused.

    py-spy shares the core of the load, which needs little of it.
    """
    core = pick_cores()[1]
    with open_server(scratch, "sampled") as server:
        pid = server.process.pid
        with Load(server.url, math.ceil(seconds) + SAMPLER_START_S, connections) as load:
            time.sleep(SETTLING_S)  # As above.
            before = read_thread_times(pid)
            with run_on(core):
                text = sample_stacks(pid, seconds, scratch / "stacks.txt")
            after = read_thread_times(pid)
            _, rate = load.finish()
    names = {int(number): name for number, name in read_thread_names(text).items()}
    spent = {
        name: after[number].total_s - (before[number].total_s if number in before else 0.0)
        for number, name in names.items()
        if number in after
    }
    return Samples(text, spent, rate)
