"""The log: how a line is written, and that nothing gets into one which a client has sent."""

import ast
import json
import logging
import logging.config
import os
import re
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ledgercore.service.access.key_ring import Scope
from ledgercore.service.process.standard_streams import STDERR
from ledgercore.service.telemetry import logs
from ledgercore.service.telemetry.logs import (
    PLACES_MAX,
    JsonLines,
    Sentences,
    describe_exception,
    make_log_config,
)
from tests.support import servers
from tests.support.keyed import bearer, make_key, spell, spell_bulk, spell_transfer
from tests.support.local import RawConnection
from tests.support.servers import ROOT, Server, make_environment
from tests.support.waiting import DEADLINE_S, wait_until

LOGGING = {f"logger.{level}" for level in ("debug", "info", "warning", "error", "exception")}
EVENT = re.compile(r"[a-z]+(-[a-z]+)*")


def make_record(name: str, message: Any, *arguments: Any, **options: Any) -> logging.LogRecord:
    extra = options.pop("extra", None)
    error = options.pop("error", None)
    told = (type(error), error, error.__traceback__) if error else None
    return logging.getLogger(name).makeRecord(
        name, logging.WARNING, __file__, 1, message, arguments, told, None, extra
    )


def raise_with(secret: str) -> Exception:
    """Return an exception whose text, and whose cause's text, are a secret."""
    try:
        try:
            raise KeyError(secret)
        except KeyError as error:
            raise ValueError(f"no such thing: {secret}") from error
    except ValueError as error:
        return error


# -- a line -----------------------------------------------------------------------------------


def test_a_line_is_one_object_with_its_fields_in_order() -> None:
    extra = {"event": "workers", "segment": 3, "queue_depth": 17}
    record = make_record("ledgercore", "segment %d: more", 3, extra=extra)
    record.created = 1_700_000_000.0625
    line = JsonLines().format(record)
    assert json.loads(line) == {
        "time": "2023-11-14T22:13:20.062Z",
        "level": "warning",
        "logger": "ledgercore",
        "event": "workers",
        "message": "segment 3: more",
        "segment": 3,
        "queue_depth": 17,
    }
    assert list(json.loads(line))[:5] == ["time", "level", "logger", "event", "message"]


@pytest.mark.parametrize("text", ["a\nb", "\u2028", "\udc80", '"', "\x00", "\x1b[31m"])
def test_any_text_is_one_line_of_ascii(text: str) -> None:
    extra = {"event": "x", "field": text}
    line = JsonLines().format(make_record("ledgercore", "%s", text, extra=extra))
    assert line.isascii() and line.isprintable()
    assert json.loads(line)["message"] == json.loads(line)["field"] == text


def test_a_field_cannot_take_the_place_of_what_each_line_has() -> None:
    extra = {"event": "x", "time": "never", "level": "none"}
    line = json.loads(JsonLines().format(make_record("ledgercore", "y", extra=extra)))
    assert line["level"] == "warning" and line["time"] != "never"


def test_an_exception_is_one_string_of_types_and_places() -> None:
    record = make_record("ledgercore", "it failed", error=raise_with("hunter2"))
    line = JsonLines().format(record)
    exception = json.loads(line)["exception"]
    assert "hunter2" not in line
    assert "builtins.ValueError" in exception and "builtins.KeyError" in exception
    assert exception.count("in raise_with") == 2
    assert "hunter2" not in Sentences().format(record)
    assert "builtins.ValueError" in Sentences().format(record)


def test_exceptions_that_cause_each_other_come_to_an_end() -> None:
    one, two = ValueError("a"), KeyError("b")
    one.__cause__, two.__cause__ = two, one
    assert describe_exception(one) == "builtins.ValueError\nwhich came of\nbuiltins.KeyError"


def test_a_recursion_is_told_by_its_beginning_and_its_end() -> None:
    # By turns, since Python itself shortens what calls itself.
    def go(depth: int) -> None:
        if depth == 0:
            raise RuntimeError("a secret")
        come(depth - 1)

    def come(depth: int) -> None:
        go(depth)

    with pytest.raises(RuntimeError) as caught:
        go(200)
    told = describe_exception(caught.value)
    assert len(told.splitlines()) < 4 * PLACES_MAX
    assert "go(200)" in told and "raise RuntimeError" in told and told.count("  ...\n") == 1


@pytest.mark.parametrize(
    ("name", "message", "arguments", "told"),
    [
        (
            "sanic.error",
            'Exception raised in exception handler "%s" for uri: %s',
            ("_answer_bug", "'http://x/idempotency-keys/hunter2'"),
            'Exception raised in exception handler "%s" for uri: %s',
        ),
        (
            "sanic.error",
            "<Request: POST /idempotency-keys/hunter2> body not consumed.",
            (),
            "(address) body not consumed.",
        ),
        (
            "sanic.root",
            "Message body set in response on /idempotency-keys/hunter2. A 204",
            (),
            "Message body set in response on (address) A 204",
        ),
        ("sanic.error", ValueError("hunter2"), (), "ValueError"),
        (
            "asyncio",
            "Exception in callback f()\nhandle: <Handle f(b'hunter2')>",
            (),
            "Exception in callback f()",
        ),
    ],
)
def test_what_libraries_say_is_told_without_its_values(
    name: str, message: Any, arguments: tuple[str, ...], told: str
) -> None:
    record = make_record(name, message, *arguments, error=raise_with("hunter2"))
    line = json.loads(JsonLines().format(record))
    assert (line["message"], line["event"]) == (told, name.partition(".")[0])
    assert "hunter2" not in str(line) + Sentences().format(record)


def test_a_terminal_gets_sentences() -> None:
    extra = {"event": "slow-request", "trace_id": "ab" * 16, "status": 201}
    record = make_record("ledgercore", "slow: %s", "/transfer", extra=extra)
    assert Sentences().format(record) == f"ledgercore: slow: /transfer (trace {'ab' * 16})"


@pytest.mark.parametrize("is_terminal", [False, True])
def test_the_configuration_is_one_that_logging_takes(
    is_terminal: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    config = make_log_config(is_terminal)
    # Under names of the test's own, so that nothing else in this process logs in another way.
    config["loggers"] = {f"test.{name}": value for name, value in config["loggers"].items()}
    logging.config.dictConfig(config)
    logging.getLogger("test.ledgercore").info("hello")
    logging.getLogger("test.sanic.error").info("not this")
    assert STDERR.flush()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("{") is not is_terminal
    # What was dropped is told in the same form.
    notice = STDERR.make_notice(3).decode()
    assert notice.startswith("{") is not is_terminal and "3 lines of the log" in notice


# -- who logs -----------------------------------------------------------------------------------


def list_calls() -> list[tuple[str, ast.Call]]:
    calls = []
    for path in sorted((ROOT / "service").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in LOGGING:
                calls.append((f"{path.name}:{node.lineno}", node))
    return calls


def test_everything_that_is_logged_has_an_event() -> None:
    calls = list_calls()
    assert len(calls) > 10
    nameless = [place for place, call in calls if "extra" not in {k.arg for k in call.keywords}]
    assert nameless == []


# -- a real server ------------------------------------------------------------------------------


def ask(server: Server, data: bytes) -> int:
    """Return the status of the answer; 0 where there is none."""
    host, port = server.url.removeprefix("http://").rsplit(":", 1)
    with RawConnection((host, int(port))) as connection:
        connection.send(data)
        answer = connection.read_answer()
        return answer.status if answer else 0


def spell_everything(keys: dict[str, Any]) -> list[bytes]:
    """Return requests of all sorts, good and bad, each full of what nobody may read."""
    transfer, admin, signed = (keys[name] for name in ("transfer", "admin", "signed"))
    body = b'{"from":"acct-0","to":"acct-1","amount":1,"memo":"MEMO-SECRET"}'
    key, signature = "Idempotency-Key: KEY-SECRET", "X-Signature: t=1,n=SIGNATURE-SECRET,v1=0"
    requests = []
    for token in (transfer.token, admin.token, signed.token, transfer.token + "x", "BAD-SECRET"):
        for line in (bearer(token), f"X-API-Key: {token}", f"Authorization: Basic {token}"):
            requests += [
                spell("POST", "/transfer", line, key, body=body),
                spell("POST", "/transfer", line, key, signature, body=body),
                spell("POST", "/transfer", line, key, "X-Other: a", body=body[:-9]),
                spell_transfer("KEY-SECRET-2", line, line),
                spell_transfer("KEY-SECRET", line, amount=2),
                spell_bulk("KEY-SECRET-3", "KEY-SECRET-3", lines=(line,)),
                spell("POST", "/transfers", line, body=b'[{"BODY-SECRET":'),
                spell("GET", "/idempotency-keys/KEY-SECRET", line),
                spell("GET", "/nothing/KEY-SECRET?BODY-SECRET", line),
                spell("POST", "/accounts", line, body=b'{"id":"BODY-SECRET","asset":"USD/2"}'),
                spell("POST", "/accounts", line, body=b'{"BODY-SECRET":\xff'),
                spell("PATCH", "/admin/limits", line, body=b'{"BODY-SECRET":1}'),
                spell("PATCH", "/admin/limits", line, body=b'{"client_rate":1000000}'),
                spell("DELETE", "/admin/keys/KEY-SECRET", line),
                spell("BREW-SECRET", "/transfer", line, key, body=body),
                spell_transfer("KEY-SECRET-4", line).replace(b"HTTP/1.1", b"HTTP/1.1\x00"),
                spell_transfer("KEY-SECRET-5", f"{line}\x00SIGNATURE-SECRET"),
                spell_transfer("KEY-SECRET-6", line, "Expect: BODY-SECRET"),
            ]
    return requests


@pytest.mark.parametrize("module", ["ledgercore.service", "tests.support.raising_server"])
def test_no_line_holds_a_secret(
    tmp_path: Path, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "ledger"
    keys: dict[str, Any] = {
        "transfer": make_key(data, "alice", Scope.TRANSFER),
        "admin": make_key(data, "root", Scope.ADMIN),
        "signed": make_key(data, "sig", Scope.TRANSFER, is_signed=True),
    }
    serve = tuple(module if word == "ledgercore.service" else word for word in servers.SERVE)
    monkeypatch.setattr(servers, "SERVE", serve)
    with Server(data, "--demo-accounts=2", "--log-interval-s=1") as server:
        statuses = {ask(server, request) for request in spell_everything(keys)}
        assert server.stop() == 0
        everything, log = server.stdout + server.stderr, server.log
        assert len(log) == len(server.stderr.splitlines())
    for line in log:
        assert {"time", "level", "logger", "event", "message"} <= line.keys(), line
        assert EVENT.fullmatch(line["event"]), line
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
    bugs = [line for line in log if line["event"] == "bug"]
    if module == "ledgercore.service":
        assert {201, 400, 401, 403, 404, 422} <= statuses and bugs == []
    else:
        assert 500 in statuses and len(bugs) > 10
        assert all("Careless" in line["exception"] for line in bugs)
        assert len({line["trace_id"] for line in bugs}) == len(bugs)
    assert "SECRET" not in everything
    for key in keys.values():
        assert key.token not in everything and key.token.split("_", 2)[2] not in everything
        assert key.secret is None or key.secret not in everything
        assert key.credential.digest.hex() not in everything
    assert {"limit-changed", "stopping", "stopped"} <= {line["event"] for line in log}


def test_a_terminal_is_found_out(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    command = [*servers.SERVE, f"--data={tmp_path / 'ledger'}"]
    with (
        os.fdopen(ours, "rb", buffering=0) as terminal,
        (tmp_path / "out").open("wb") as out,
        subprocess.Popen(
            command, cwd=ROOT, env=make_environment(), stdout=out, stderr=theirs
        ) as process,
    ):
        os.close(theirs)
        try:
            wait_until(lambda: "://" in (tmp_path / "out").read_text(), "the server to be ready")
            process.terminate()
            assert process.wait(DEADLINE_S) == 0
        finally:
            process.kill()
        text = terminal.read(65536).decode()
    assert "ledgercore: has stopped\r\n" in text and "{" not in text


def test_the_format_is_named_by_its_place() -> None:
    config = make_log_config(False)
    assert config["formatters"]["line"]["()"] == f"{logs.__name__}.{JsonLines.__name__}"
    assert sys.modules[logs.__name__].JsonLines is JsonLines
