"""What was measured: the commit, and how the engine was compiled.

This module owns where these are found. What cannot be told is "unknown".
"""

import importlib.util
import re
import runpy
import subprocess
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from .machine import ROOT

UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Build:
    """The commit, what the compiler wrote into the extension, and what it is told today.

    `compiled` names the compiler and the flags that change code, as the extension that ran has
    them. `flags` are those that Python and setup.py give for the plain build, warnings and all.
    """

    commit: str
    compiled: str
    flags: str


def describe_build() -> Build:
    """Return what is known of the code that runs."""
    return Build(_name_commit(), _read_producer(), _read_flags())


def _name_commit() -> str:
    try:
        told = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return UNKNOWN
    return told.stdout.strip()


def _read_producer() -> str:
    """Return what a compiler that was told -g leaves in the debug information."""
    spec = importlib.util.find_spec("ledgercore.ledger")
    if spec is None or spec.origin is None:
        return UNKNOWN
    found = re.search(rb"(?:GNU C\d|clang version )[^\0]+", Path(spec.origin).read_bytes())
    return UNKNOWN if found is None else found[0].decode("ascii", "replace")


def _read_flags() -> str:
    given = sysconfig.get_config_var("CFLAGS") or ""
    try:
        # Run under another name than __main__, it defines its functions and builds nothing.
        own = runpy.run_path(str(ROOT / "setup.py"))["flags"](False, "")
    except ImportError:
        return given
    return " ".join([given, *own])
