"""Load processes as their coordinator runs them: started, sent orders, read from, ended.

This module owns the pipes and the end of each process. What a message means is not known here.
"""

import asyncio
from contextlib import suppress
from pathlib import Path

import msgspec

from ..machine import ROOT
from ..processes import python
from .messages import Message, Order, decode_message
from .plan import Share
from .server_facts import SimulationFailed

LINE_BYTES_MAX = 1 << 24
LEAVE_S = 5.0


class LoadProcess:
    """One load process."""

    def __init__(self, index: int, process: asyncio.subprocess.Process, log: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.index = index
        self._process = process
        self._orders, self._messages = process.stdin, process.stdout
        self._log = log

    @classmethod
    async def start(cls, share: Share, folder: Path) -> "LoadProcess":
        """Start a process and hand it its share."""
        log = folder / f"log-{share.index}"
        with log.open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *python("bench.simulator.worker", str(folder)),
                cwd=ROOT,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                limit=LINE_BYTES_MAX,
                # Out of the terminal's reach: an interrupt is for the coordinator.
                start_new_session=True,
            )
        self = cls(share.index, process, log)
        self._write(msgspec.json.encode(share))
        return self

    def order(self, what: str, at_s: float = 0.0) -> None:
        """Tell the process what to do next."""
        self._write(msgspec.json.encode(Order(what, at_s)))

    async def receive(self) -> Message:
        """Return the next message. Raises SimulationFailed if the process has ended instead."""
        line = await self._messages.readline()
        if not line.endswith(b"\n"):
            code = await self._process.wait()
            said = self._log.read_text(errors="replace").strip().splitlines()
            last = said[-1] if said else "it said nothing"
            how = f"was ended by signal {-code}" if code < 0 else f"ended with {code}"
            raise SimulationFailed(f"load process {self.index} {how}: {last}")
        message: Message = decode_message(line)
        return message

    async def end(self) -> None:
        """Let the process leave, and kill it if it does not."""
        with suppress(OSError, RuntimeError):
            self._orders.close()
        try:
            await asyncio.wait_for(self._process.wait(), LEAVE_S)
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        """End the process at once."""
        with suppress(ProcessLookupError):
            self._process.kill()

    def _write(self, line: bytes) -> None:
        # A process that is gone is found when the next message is awaited.
        with suppress(OSError, RuntimeError):
            self._orders.write(line + b"\n")
