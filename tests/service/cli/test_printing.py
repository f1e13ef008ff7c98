"""What the commands of `ledgercore admin` print as JSON: each of them, and nothing besides."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from ledgercore.service.cli.offline import admin
from ledgercore.service.cli.printing import print_json_array
from ledgercore.service.cli.serve import main
from tests.support.servers import Server

# They print nothing but what they ask and say.
SILENT: set[str] = set()


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["admin", *map(str, arguments), "--json"])


def tell(*arguments: str | Path) -> Any:
    """Return the value that a command prints, which is all that it prints there."""
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def commands(group: click.Group, *names: str) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, *names, name)
        else:
            yield " ".join([*names, name]), command


def test_every_command_that_prints_has_the_flag() -> None:
    for name, command in commands(admin):
        flags = {option for parameter in command.params for option in parameter.opts}
        assert ("--json" in flags) == (name not in SILENT), name


def test_accounts(directory: Path) -> None:
    opened = tell("accounts", "open", directory, "alice", "--asset=USD/2", "--ceiling=9000")
    expected = {
        "id": "alice", "asset": "USD/2", "balance": 0, "floor": 0, "ceiling": 9000,
        "frozen": False, "slot": 0,
    }  # fmt: skip
    assert opened == expected
    assert tell("accounts", "show", directory, "alice") == expected
    changed = tell("accounts", "change", directory, "alice", "--frozen", "--ceiling=none")
    assert changed == expected | {"frozen": True, "ceiling": None}
    tell("accounts", "open", directory, "bob", "--asset=USD/2")
    assert [one["id"] for one in tell("accounts", "list", directory)] == ["alice", "bob"]


def test_directories(directory: Path) -> None:
    tell("accounts", "open", directory, "alice", "--asset=USD/2")
    verified = tell("verify", directory)
    assert verified["ok"] is True and verified["accounts"] == 1 and verified["violations"] == []
    inspected = tell("inspect", directory)
    assert len(inspected["segments"]) == 1 and inspected["snapshots"] == []
    assert inspected["seal"]["clean"]
    assert tell("compact", directory)["snapshot"].endswith(".snapshot")
    assert tell("compact", directory) == {"snapshot": None}
    assert set(tell("repair", directory, "--yes")) == {
        "action", "file", "kept_as", "lsn_last", "lsns_lost",
    }  # fmt: skip


def test_an_error_is_no_json(directory: Path, tmp_path: Path) -> None:
    refused: list[tuple[str | Path, ...]]
    refused = [("verify", tmp_path / "none"), ("accounts", "show", directory, "nobody")]
    for arguments in refused:
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: ")


def test_what_is_asked_is_not_on_stdout(directory: Path) -> None:
    tell("accounts", "open", directory, "alice", "--asset=USD/2")
    result = CliRunner().invoke(main, ["admin", "repair", str(directory), "--json"], input="y\n")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["lsns_lost"] == 0 and "Cut the journal" in result.stderr


def test_keys(tmp_path: Path) -> None:
    data = f"--data={tmp_path}"
    made = tell("keys", "create", "shop", "--scope=transfer", "--signed", "--rate=5", data)
    assert set(made) == {"id", "name", "scope", "token", "secret"} and made["name"] == "shop"
    (listed,) = tell("keys", "list", data)
    assert listed.pop("created_at")
    assert listed == {
        "id": made["id"], "name": "shop", "scope": "transfer", "signed": True, "rate": 5.0,
        "burst": None, "quota": None,
    }  # fmt: skip
    assert [one["id"] for one in tell("keys", "accept", "--yes", data)] == [made["id"]]
    assert tell("keys", "revoke", "shop", data) == {"revoked": [made["id"]]}
    assert tell("keys", "list", data) == []


def test_a_running_server(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('{"seed": 7}')
    with Server(tmp_path / "data", "--allow-chaos") as server:
        url = f"--url={server.url}"
        assert tell("limits", "set", "--client-rate=100", url)["client_rate"] == 100
        assert tell("limits", "show", url)["client_rate"] == 100
        assert tell("workers", "show", url)["segments"]
        assert tell("workers", "set", "--workers-max=1", url)["workers_max"] == 1
        assert tell("chaos", "set", str(tmp_path / "plan.json"), url)["plan"]["seed"] == 7
        assert tell("chaos", "show", url)["plan"]["seed"] == 7


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_array_is_one_value(count: int, capsys: pytest.CaptureFixture[str]) -> None:
    print_json_array({"n": number} for number in range(count))
    assert json.loads(capsys.readouterr().out) == [{"n": number} for number in range(count)]
