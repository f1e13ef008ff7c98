"""The app as a factory, for Sanic's own command and test client."""

import os
import signal
import socket
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from sanic import Sanic

from ledgercore.service.app import create_app
from ledgercore.service.runtime import lifecycle
from ledgercore.service.settings import InvalidSetting, Settings
from tests.support.local import RawConnection
from tests.support.servers import make_environment, try_get
from tests.support.waiting import DEADLINE_S, wait_until


def test_settings_are_given(tmp_path: Path) -> None:
    settings = Settings(data=str(tmp_path), segments=3)
    assert create_app(settings).ctx.lifecycle.settings is settings


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEDGERCORE_SEGMENTS", "3")
    assert create_app().ctx.lifecycle.settings.segments == 3
    monkeypatch.setenv("LEDGERCORE_SEGMENTS", "0")
    with pytest.raises(InvalidSetting):
        create_app()


def test_sanics_command_hands_over_its_own_arguments() -> None:
    arguments = Namespace(port=1)
    app = create_app(arguments)  # type: ignore[arg-type]  # This is what Sanic does.
    assert app.ctx.lifecycle.settings.port == Settings().port


def test_apps_of_one_process_have_names_of_their_own() -> None:
    names = {create_app(Settings()).name for _ in range(3)}
    assert len(names) == 3


def test_making_an_app_opens_nothing(tmp_path: Path) -> None:
    create_app(Settings(data=str(tmp_path / "ledger")))
    assert not (tmp_path / "ledger").exists()


def test_sanics_own_command_serves_by_our_protocol(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "sanic", "ledgercore.service.app:create_app", "--factory"]
    environment = make_environment(LEDGERCORE_DATA=str(tmp_path / "ledger"))
    with subprocess.Popen(
        [*command, f"--port={port}", "--workers=1"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            url = f"http://127.0.0.1:{port}"
            wait_until(lambda: try_get(f"{url}/readyz"), "the server to be ready")
            # Sanic's own protocol takes this size of a chunk; ours, and all others, do not.
            head = (
                b"POST /transfer HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            with RawConnection(("127.0.0.1", port)) as connection:
                connection.send(head + b"0x2\r\n{}\r\n0\r\n\r\n")
                answer = connection.read_answer()
                assert answer is not None and answer.status == 400
                assert connection.read_to_end() == b""
        finally:
            # The manager of Sanic's workers heeds no signal until they have told that they are up.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate(timeout=DEADLINE_S)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_sanics_test_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sanic, "test_mode", True)
    # The client asks as soon as the port is open, so the port has to wait for the ledger.
    monkeypatch.setattr(lifecycle, "GRACE_S", 30)
    app = create_app(Settings(data=str(tmp_path / "ledger"), demo_accounts=2))
    _, response = app.test_client.get("/accounts/acct-1")
    assert response.status == 200
    assert response.json["balance"] == 100_000_000
