"""The types of logged_time.pyx. The docstrings there are its reference."""

from collections.abc import Callable
from pathlib import Path

from .ledger import Ledger

BOOT_ID_PATH: Path
LEAD_NS_MAX: int

def read_boot_id(path: Path = ...) -> bytes: ...
def encode_clock(boot_id: bytes, boot_ns: int, logged_ns: int, slow_ns: int) -> bytes: ...
def decode_clock(data: bytes) -> tuple[bytes, int, int, int] | None: ...
def is_newer_clock(data: bytes) -> bool: ...
def choose_start(
    known: tuple[bytes, int, int, int] | None,
    boot_id: bytes,
    boot_ns: int,
    wall_ns: int,
    newest_ns: int,
    accept_clock: bool = False,
) -> int: ...
def tell_time(time_ns: int) -> str: ...
def start_clock(
    ledger: Ledger,
    known: tuple[bytes, int, int, int] | None = None,
    accept_clock: bool = False,
) -> bytes: ...
def save_clock(ledger: Ledger, boot_id: bytes) -> bytes: ...

class ClockKeeper:
    """Keeps the file as new as the anchor that records are logged by; for the journal's thread."""

    def __init__(self, ledger: Ledger, write: Callable[[bytes], None]) -> None: ...

def read_lead_ns(ledger: Ledger) -> int: ...
def read_logged_ns(ledger: Ledger) -> int: ...
