"""The format of log lines: JSON, or a sentence where the log is a terminal.

This module owns the form of a line, and that nothing gets into one which a client has sent: of an
exception it tells the type and the places, never the text, since that may quote a body; of what
Sanic and asyncio say it tells the sentence, never the values in it. It never decides what is
logged, and never writes it: standard_streams.py does. What the service itself says of failures of
the system is in its sentences.
"""

import logging
import re
import traceback
from datetime import UTC, datetime
from typing import Any

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from ..process.standard_streams import STDERR

OWN = "ledgercore"
LEVELS = {
    OWN: "INFO",
    "sanic.root": "WARNING",
    "sanic.server": "WARNING",
    "sanic.error": "WARNING",
    "sanic.access": "WARNING",
    "asyncio": "WARNING",
    "concurrent.futures": "WARNING",
    "py.warnings": "WARNING",
}
"""The loggers that write, and from which level on."""

PLACES_MAX = 40
"""How many places of an exception are told, the first and the last; a recursion has a thousand."""

_ADDRESS = re.compile(r"(<Request: \w+ ).*>|(?:\w+:/)?/\S+")
"""How Sanic writes the address of a request into its sentences."""
_RESERVED = {*RESERVED_ATTRS, "event", "taskName"}


def make_log_config(is_terminal: bool) -> dict[str, Any]:
    """Return what `logging.config.dictConfig` takes: everything to stderr, one line each."""
    form = (
        "ledgercore.service.telemetry.logs.Sentences"
        if is_terminal
        else "ledgercore.service.telemetry.logs.JsonLines"
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"line": {"()": form}},
        "handlers": {
            "stderr": {
                "class": "ledgercore.service.telemetry.logs.QueuedHandler",
                "formatter": "line",
            }
        },
        "loggers": {
            name: {"level": level, "handlers": ["stderr"], "propagate": False}
            for name, level in LEVELS.items()
        },
    }


class QueuedHandler(logging.Handler):
    """Hands each line to the queued writer of stderr, so that logging never waits."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say what a record has to say."""
        try:
            STDERR.put(self._write(record))
        except Exception:
            self.handleError(record)

    def _write(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode(errors="backslashreplace")

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802  # Of logging.
        """Write lines in a form, that of what was dropped as well."""
        super().setFormatter(fmt)
        STDERR.make_notice = self._format_dropped

    def _format_dropped(self, count: int) -> bytes:
        logger = logging.getLogger(OWN)
        sentence = "%d lines of the log were dropped here: nobody took them"
        fields = {"event": "log-dropped", "dropped": count}
        return self._write(
            logger.makeRecord(OWN, logging.WARNING, "", 0, sentence, (count,), None, None, fields)
        )

    def flush(self) -> None:
        """Give what was said a moment to be written."""
        STDERR.flush()


def find_message(record: logging.LogRecord) -> str:
    """Return the sentence of a record; of what is not ours, without what was put into it."""
    if record.name == OWN:
        return record.getMessage()
    if not isinstance(record.msg, str):
        return type(record.msg).__name__
    # asyncio says what has happened in the first line, and in the others with which values.
    sentence = record.msg.partition("\n")[0]
    return _ADDRESS.sub("(address)", sentence)


def describe_exception(error: BaseException) -> str:
    """Return the types and the places of an exception and of what led to it, without any text."""
    parts = []
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        places = traceback.format_tb(found.__traceback__)
        if len(places) > PLACES_MAX:
            places[PLACES_MAX // 2 : -PLACES_MAX // 2] = ["  ...\n"]
        parts.append(f"{''.join(places)}{type(found).__module__}.{type(found).__qualname__}")
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)
    return "\nwhich came of\n".join(parts)


def format_time(seconds: float) -> str:
    """Return a Unix time as RFC 3339 has it, in UTC with milliseconds."""
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


class JsonLines(JsonFormatter):
    """One JSON object a line: `time`, `level`, `logger`, `event`, `message`, and the fields."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  # The name is logging's.
        """Return an exception as one string."""
        return describe_exception(ei[1]) if ei[1] is not None else ""

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Put into the line what a record has, in the order in which it is read."""
        log_data["time"] = format_time(record.created)
        log_data["level"] = record.levelname.lower()
        log_data["logger"] = record.name
        log_data["event"] = getattr(record, "event", record.name.partition(".")[0])
        log_data["message"] = find_message(record)
        for name, value in vars(record).items():
            if name not in _RESERVED:
                log_data.setdefault(name, value)
        if exception := message_dict.get("exc_info"):
            log_data["exception"] = exception


class Sentences(logging.Formatter):
    """A sentence a line, for people."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, and below it where an exception came from."""
        line = f"ledgercore: {find_message(record)}"
        trace_id = getattr(record, "trace_id", None)
        if trace_id is not None:
            line += f" (trace {trace_id})"
        if record.exc_info and record.exc_info[1] is not None:
            line += "\n" + describe_exception(record.exc_info[1])
        return line
