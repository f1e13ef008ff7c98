"""The file of the integer forms: from which transfer on answers write numbers or strings.

This module owns the file DIR/integers.json. It lists the LSNs at which `--integers` has changed, so
that who repeats a transfer of before gets the bytes of the first answer. It is there only once
strings were asked for. It never writes an answer.
"""

import zlib
from pathlib import Path

import msgspec

from ledgercore import DirectoryUnusable
from ledgercore.file_replacement import replace_file

from ..engine_port import EnginePort
from ..settings import Settings
from ..wire.integer_forms import IntegerForms

FILE_NAME = "integers.json"
VERSION = 1


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    starts: list[int]
    crc32: int


def load_forms(settings: Settings, engine: EnginePort) -> IntegerForms:
    """Return the forms as the settings have them from now on. Blocks; raises DirectoryUnusable."""
    path = Path(settings.data, FILE_NAME) if settings.is_durable else None
    return open_forms(path, settings.integers == "string", engine.statistics().lsn_applied)


def open_forms(path: Path | None, are_strings: bool, lsn: int) -> IntegerForms:
    """Return the forms of a ledger whose last LSN is given: what comes after it is strings, or not.

    What changes is on the disk when this returns. A path of None remembers nothing, for a ledger
    that does not either. Raises DirectoryUnusable.
    """
    if path is None:
        return IntegerForms([0] if are_strings else [])
    known = _read(path)
    # A ledger that is older than the file, out of a copy, will use those LSNs anew.
    starts = [start for start in known if start <= lsn + 1]
    if (len(starts) % 2 == 1) != are_strings:
        if starts[-1:] == [lsn + 1]:
            starts.pop()  # Nothing was stored since the last change.
        else:
            starts.append(lsn + 1)
    if starts != known:
        _write(path, starts)
    return IntegerForms(starts)


def _read(path: Path) -> list[int]:
    try:
        document = msgspec.json.decode(path.read_bytes(), type=_Document)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise DirectoryUnusable(f"{path}: {error.strerror or error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise DirectoryUnusable(_explain(path)) from None
    if document.version > VERSION:
        raise DirectoryUnusable(f"{path}: it was written by a newer program")
    if document.crc32 != _sum(document.version, document.starts):
        raise DirectoryUnusable(_explain(path))
    return document.starts


def _explain(path: Path) -> str:
    return (
        f"{path}: it is damaged. Restore it; without it, repeats of what was answered in strings"
        " would be answered in numbers"
    )


def _sum(version: int, starts: list[int]) -> int:
    return zlib.crc32(msgspec.json.encode([version, starts]))


def _write(path: Path, starts: list[int]) -> None:
    text = msgspec.json.encode(_Document(VERSION, starts, _sum(VERSION, starts)))
    try:
        replace_file(path, text + b"\n")
    except OSError as error:
        raise DirectoryUnusable(f"{error.filename or path}: {error.strerror or error}") from None
