"""The app as a factory, for Sanic's own command and test client."""

from argparse import Namespace
from pathlib import Path

import pytest
from sanic import Sanic

from service import lifecycle
from service.app import create_app
from service.settings import InvalidSetting, Settings


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


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_sanics_test_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Sanic, "test_mode", True)
    # The client asks as soon as the port is open, so the port has to wait for the ledger.
    monkeypatch.setattr(lifecycle, "GRACE_S", 30)
    app = create_app(Settings(data=str(tmp_path / "ledger"), demo_accounts=2))
    _, response = app.test_client.get("/accounts/acct-1")
    assert response.status == 200
    assert response.json["balance"] == 100_000_000
