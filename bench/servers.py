"""Servers and load generators as processes of their own, each kept on the core it is given.

This module owns how they are started, awaited and stopped. It measures nothing.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from .machine import ROOT, read_process_cpu, run_on

DEADLINE_S = 60.0

SERVICE = ("service", "serve", "--port=0")
PLAIN = ("bench.plain",)
KEYS = ("service", "admin", "keys")


class Server:
    """A server that is ready once it is made, and is stopped with the `with` block."""

    def __init__(self, core: int, module: str, *flags: str, log: Path) -> None:
        self._log = log
        with run_on(core), log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *flags],
                cwd=ROOT,
                env=make_environment(),
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self.url = self._read_url()

    def _read_url(self) -> str:
        """Return the address from what the server prints when it is ready."""
        assert self.process.stdout is not None
        told = ""
        # One that has recovered says so before it says where it serves.
        for line in self.process.stdout:
            told += line
            for word in line.split():
                if word.startswith("http://"):
                    return word
        self.stop()
        raise RuntimeError(f"a server did not start: {told}{self._log.read_text()}")

    @property
    def cpu_s(self) -> float:
        """The seconds of processor that it has had so far."""
        return read_process_cpu(self.process.pid)

    def stop(self) -> None:
        """Stop the server as an operator does; kill it if it does not listen."""
        self.process.terminate()
        try:
            self.process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


def run_load_process(core: int, url: str, *flags: str) -> dict[str, Any]:
    """Run the load generator to its end, and return the result that it prints."""
    with run_on(core):
        ended = subprocess.run(
            [sys.executable, "-m", "bench.load", url, *flags],
            cwd=ROOT,
            env=make_environment(),
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
    if ended.returncode != 0:
        raise RuntimeError(f"the load generator failed: {ended.stderr}")
    result: dict[str, Any] = json.loads(ended.stdout)
    return result


def create_key(ledger: Path, name: str, *flags: str) -> dict[str, str]:
    """Make an API key for a ledger that is not served yet; return what is told of it by name."""
    made = subprocess.run(
        [sys.executable, "-m", *KEYS, "create", name, f"--data={ledger}", *flags],
        cwd=ROOT,
        env=make_environment(),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    if made.returncode != 0:
        raise RuntimeError(f"no API key could be made: {made.stderr}")
    return dict(line.split() for line in made.stdout.splitlines())


def make_environment() -> dict[str, str]:
    """Return the environment without the settings of a server that somebody may have left there."""
    return {name: text for name, text in os.environ.items() if not name.startswith("LEDGERCORE_")}
