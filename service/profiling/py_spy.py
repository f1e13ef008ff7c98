"""py-spy: how it is found and started, how its run ends, and what its refusal is called.

This module owns the process of py-spy. What the stacks mean is told by stacks.py. py-spy stops a
process for each sample and reads its memory, as a debugger does; where that is forbidden nothing is
seen, and the message of SamplingRefused says why in one sentence.
"""

import asyncio
import ctypes
import os
import shutil
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

RATE_HZ_MAX = 100
"""Above that, reading native frames takes so long that the server stands still."""
RATE_HZ = 50
"""As often as py-spy looks unasked; it costs a fifth of the throughput, and 100 Hz two fifths."""
ANSWER_S = 57.0
"""When py-spy has to have ended, since Sanic gives up on an answer after 60 s."""
END_S = 2.0
"""How long py-spy may take to end when asked to; a few hundredths of a second are usual."""

_PR_SET_PTRACER = 0x59616D61


class SamplingRefused(Exception):
    """py-spy saw nothing of a process; the message is one sentence for people."""


def find_sampler() -> tuple[str, ...]:
    """Return the command of py-spy: the one of this environment, or else any on the path."""
    own = Path(sys.executable).with_name("py-spy")
    return (str(own) if own.exists() else shutil.which("py-spy") or "py-spy",)


def make_command(
    sampler: Sequence[str], pid: int, seconds: int, rate_hz: int, path: Path
) -> list[str]:
    """Return the command that samples all threads of a process into a file, in the raw format."""
    return [
        *sampler,
        "record",
        "--native",
        "--threads",
        "--full-filenames",
        "--format=raw",
        f"--rate={rate_hz}",
        f"--duration={seconds}",
        f"--output={path}",
        f"--pid={pid}",
    ]


def explain_missing() -> str:
    """Return the sentence for a py-spy that cannot be started."""
    return "py-spy is not installed."


def explain_refusal(output: str) -> str:
    """Return one sentence for what py-spy said before it gave up."""
    if "ermission" in output or "not permitted" in output:
        return (
            "py-spy may not trace another process here; it needs ptrace"
            " (in a container --cap-add=SYS_PTRACE, elsewhere root or kernel.yama.ptrace_scope=0)."
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    said = next((line for line in reversed(lines) if "rror" in line or "eason" in line), "")
    return f"py-spy failed: {said or (lines or ['it said nothing'])[-1]}"


async def sample_self(scratch: Path, seconds: int, rate_hz: int) -> Path:
    """Let py-spy sample this process, and return the file of its raw stacks.

    The file is in `scratch`, which has to be there and is the caller's to remove. Raises
    SamplingRefused where py-spy is not there, or may not. Whoever cancels this ends py-spy.
    """
    path, log = scratch / "stacks.txt", scratch / "log.txt"
    command = make_command(find_sampler(), os.getpid(), seconds, rate_hz, path)
    with log.open("wb") as said:
        process = await start_sampler(command, said)
        allow_tracer(process.pid)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_S):
                    await process.wait()
        finally:
            # What it has seen by then it writes.
            await asyncio.shield(end_sampler(process))
            allow_tracer(0)
    if process.returncode != 0 or not path.exists():
        raise SamplingRefused(explain_refusal(log.read_text(errors="replace")))
    return path


async def start_sampler(command: Sequence[str], said: BinaryIO) -> asyncio.subprocess.Process:
    """Start py-spy. Raises SamplingRefused where it is not there.

    Cancelled between the start of the process and the return of whoever starts it, nobody would
    know the process; so that is waited for, and the process ended.
    """
    # A file and no pipes, so that nobody has to read what it tells of its progress.
    starting = asyncio.create_task(
        asyncio.create_subprocess_exec(
            *command, stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said
        )
    )
    try:
        return await asyncio.shield(starting)
    except (FileNotFoundError, PermissionError):
        raise SamplingRefused(explain_missing()) from None
    except asyncio.CancelledError:
        await asyncio.shield(_end_started(starting))
        raise


async def _end_started(starting: asyncio.Task[asyncio.subprocess.Process]) -> None:
    with suppress(OSError):
        await end_sampler(await starting)


async def end_sampler(process: asyncio.subprocess.Process) -> None:
    """End py-spy and reap it.

    It is interrupted first, since killed at the wrong moment it would leave threads of this process
    stopped, with nobody left to let them go on.
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGINT)
        try:
            async with asyncio.timeout(END_S):
                await process.wait()
        except TimeoutError:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


def allow_tracer(pid: int) -> None:
    """Let a child trace this process, where Yama allows that to parents only; 0 ends it.

    Systems without Yama say that there is no such thing, which is fine.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PTRACER, ctypes.c_ulong(pid), 0, 0, 0)
