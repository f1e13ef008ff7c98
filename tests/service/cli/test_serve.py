"""The command line: flags, environment, exit codes and help."""

import importlib
import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import click
import httpx
import pytest
from click.testing import CliRunner

from ledgercore.service.cli.serve import main
from ledgercore.service.settings import RANGES, Settings, environment_name, flag_name
from tests.support.servers import Server, run_command


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--port", "http"),
        ("--port", "70000"),
        ("--port", ""),
        ("--demo-accounts", "-1"),
        ("--demo-funds", "1.5"),
        ("--segments", "0"),
        ("--workers-max", "many"),
        ("--workers-min", "0"),
        ("--workers-min", "256"),
        ("--queue-size", "0"),
        ("--batch-max", "0"),
        ("--durability", "maybe"),
        ("--key-ttl-s", "0"),
        ("--data", ""),
        ("--host", "0.0.0.0"),
        ("--host", "192.0.2.1"),
        ("--host", "example.com"),
        ("--host", "::"),
        ("--client-rate", "-1"),
        ("--client-quota", "1.5"),
        ("--quota-window-s", "0"),
        ("--global-rate", "many"),
        ("--request-deadline-ms", "-1"),
        ("--connections-max", "0"),
        ("--tls-cert", "cert.pem"),
        ("--otlp", "ftp://collector:4318"),
        ("--otlp", "collector:4318"),
    ],
)
def test_bad_value_stops_the_start(flag: str, value: str) -> None:
    result = CliRunner().invoke(main, ["serve", flag, value])
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"Error: {flag}: ") and "_" not in line
    assert result.stdout == ""


def test_bad_value_in_the_environment() -> None:
    result = run_command("serve", LEDGERCORE_SEGMENTS="0")
    assert result.returncode == 2
    assert result.stderr == "Error: LEDGERCORE_SEGMENTS: 0 is not between 1 and 256\n"


def test_what_a_cluster_sets_is_ignored_with_a_word(tmp_path: Path) -> None:
    address = "tcp://10.96.0.12:8000"
    environment = {
        "LEDGERCORE_HOST": address,
        "LEDGERCORE_SERVICE_HOST": "10.96.0.12",
        "LEDGERCORE_PORT_8000_TCP": address,
    }
    with Server(tmp_path / "ledger", environment=environment) as server:
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        (line,) = server.complaints
        assert line.startswith(f"LEDGERCORE_HOST={address} is what a cluster tells")
        assert server.stop() == 0


def test_a_port_that_a_cluster_sets_is_none() -> None:
    """The default stands: so it says, where somebody has it already."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(socket.create_server(("127.0.0.1", Settings().port)))
        result = run_command("serve", LEDGERCORE_PORT="tcp://10.96.0.12:8000")
    assert result.stderr == f"Error: port {Settings().port} of 127.0.0.1 is in use\n"


def test_headers_for_the_collector_that_make_no_sense() -> None:
    result = run_command(
        "serve", "--otlp=http://127.0.0.1:1", OTEL_EXPORTER_OTLP_HEADERS="no header"
    )
    assert result.returncode == 2
    assert result.stderr.startswith("Error: --otlp: ") and "no header" not in result.stderr


def test_unknown_flag() -> None:
    result = CliRunner().invoke(main, ["serve", "--frobnicate"])
    assert result.exit_code == 2
    assert "--frobnicate" in result.stderr


def test_help_names_every_setting_and_its_variable() -> None:
    text = CliRunner().invoke(main, ["serve", "--help"]).stdout
    words = set(re.findall(r"[\w-]+", text))
    for name in Settings.meanings():
        assert f"--{name.replace('_', '-')}" in words
        assert environment_name(name) in words


def test_help_shows_which_settings_are_numbers() -> None:
    text = CliRunner().invoke(main, ["serve", "--help"]).stdout
    for option in main.commands["serve"].params:
        if option.name in RANGES and not getattr(option, "is_flag", False):
            assert re.search(rf"^  {flag_name(option.name)} (INTEGER|CENTS)\b", text, re.MULTILINE)
    assert " TEXT" not in text


def test_help_shows_one_default_at_most() -> None:
    for option in main.commands["serve"].params:
        record = option.get_help_record(click.Context(main.commands["serve"]))
        assert record is not None and record[1].count("default: ") <= 1, record
        assert '""' not in record[1], record


@pytest.mark.parametrize("arguments", [["--help"], ["serve", "--help"], ["--version"]])
def test_the_package_is_the_command(arguments: list[str], tmp_path: Path) -> None:
    script = Path(sys.executable).with_name("ledgercore")
    programs: list[list[str | Path]] = [[sys.executable, "-m", "ledgercore"], [script]]
    told = [
        subprocess.run(
            [*program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout
        for program in programs
    ]
    assert told[0] == told[1] != ""


def test_the_package_says_where_there_is_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module("ledgercore.__main__")
    monkeypatch.setattr(module, "DISTRIBUTION", "another")
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with pytest.raises(SystemExit, match="another is not installed"):
            module.main()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["serve"],
        ["admin"],
        ["admin", "verify"],
        ["admin", "inspect"],
        ["admin", "repair"],
        ["admin", "compact"],
        ["admin", "accounts"],
        ["admin", "accounts", "list"],
        ["admin", "accounts", "show"],
        ["admin", "accounts", "open"],
        ["admin", "accounts", "change"],
        ["admin", "keys"],
        ["admin", "keys", "create"],
        ["admin", "keys", "list"],
        ["admin", "keys", "revoke"],
    ],
    ids=" ".join,
)
def test_help(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, [*arguments, "--help"])
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert max(map(len, result.stdout.splitlines())) <= 100


def test_every_command_says_what_it_does() -> None:
    """In a list of commands on a terminal of 80 columns, and to its end."""
    groups: dict[str, click.Command] = {"": main, **main.commands}
    admin = groups["admin"]
    assert isinstance(admin, click.Group)
    groups |= {f"admin {name}": command for name, command in admin.commands.items()}
    for path, group in groups.items():
        if isinstance(group, click.Group):
            listing = CliRunner().invoke(main, [*path.split(), "--help"]).stdout
            for name in group.commands:
                assert re.search(rf"^  {name} +\w.*[^.]\.$", listing, re.MULTILINE), (path, name)
