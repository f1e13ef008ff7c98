"""The commands for API keys, on real files and beside a real server."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledgercore.service.access.key_file import FILE_NAME, list_keys
from ledgercore.service.access.key_ring import KeyRing, Scope
from ledgercore.service.cli.serve import main
from ledgercore.service.settings import environment_name
from tests.support.servers import Server

Keys = Callable[..., Result]


@pytest.fixture
def keys(directory: Path) -> Keys:
    """Run `ledgercore admin keys ...` for a directory that the environment names."""

    def run(*arguments: object, **environment: str) -> Result:
        settings = {environment_name("data"): str(directory)} | environment
        return CliRunner().invoke(main, ["admin", "keys", *map(str, arguments)], env=settings)

    return run


def create(keys: Keys, *arguments: object, **environment: str) -> dict[str, str]:
    """Create a key, and return what was printed of it."""
    result = keys("create", *arguments, **environment)
    assert result.exit_code == 0, result.output
    return dict(line.split() for line in result.stdout.splitlines())


def check_refused(result: Result, exit_code: int, *words: str) -> None:
    assert result.exit_code == exit_code
    assert result.stdout == ""
    # Before it may come how the command is used, and after it what there is to choose from.
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("Error: "))
    for word in words:
        assert word in line


def test_create(keys: Keys, directory: Path) -> None:
    told = create(keys, "shop", "--scope=transfer", "--rate=2.5", "--burst=5", "--quota=100")
    assert list(told) == ["id", "name", "scope", "token"]
    key = KeyRing(directory / FILE_NAME).authenticate(told["token"])
    assert key is not None
    assert (key.id, key.client, key.scope) == (told["id"], "shop", Scope.TRANSFER)
    assert (key.rate, key.burst, key.quota, key.is_signed) == (2.5, 5, 100, False)


def test_create_signed(keys: Keys, directory: Path) -> None:
    result = keys("create", "shop", "--scope=read", "--signed")
    told = dict(line.split() for line in result.stdout.splitlines())
    (key,) = list_keys(directory / FILE_NAME)
    assert key.secret == told["secret"]
    # Where the secret is, and that it is there as it is, has to be said.
    assert f"{directory / FILE_NAME} has it as it is" in result.stderr
    assert told["token"] not in result.stderr and told["secret"] not in result.stderr


@pytest.mark.parametrize("scope", Scope)
def test_every_scope_can_be_given(keys: Keys, directory: Path, scope: Scope) -> None:
    create(keys, "shop", "--scope", scope.label)
    assert [key.scope for key in list_keys(directory / FILE_NAME)] == [scope]


def test_list(keys: Keys) -> None:
    first = create(keys, "shop", "--scope=read", "--signed")
    second = create(
        keys, "operations", "--scope=admin", "--rate=1000000", "--burst=5", f"--quota={2**63 - 1}"
    )
    result = keys("list")
    assert result.exit_code == 0
    head, *rows = (line.split() for line in result.stdout.splitlines())
    assert head == ["id", "name", "scope", "signed", "rate", "burst", "quota", "created"]
    assert [row[:-1] for row in rows] == [
        [first["id"], "shop", "read", "yes", "-", "-", "-"],
        [second["id"], "operations", "admin", "no", "1000000", "5", "9223372036854775807"],
    ]
    assert len({line.index(" yes ") for line in result.stdout.splitlines() if " yes " in line}) == 1


def test_list_shows_nothing_that_helps(keys: Keys, directory: Path) -> None:
    told = create(keys, "shop", "--scope=read", "--signed")
    (key,) = list_keys(directory / FILE_NAME)
    shown = keys("list").output
    for hidden in (told["token"][13:], told["secret"][4:], key.digest.hex()):
        assert hidden not in shown


def test_list_tells_an_open_server_from_a_closed_one(keys: Keys, directory: Path) -> None:
    result = keys("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "no such file" in result.stderr and not directory.exists()
    create(keys, "shop", "--scope=read")
    assert "every request is refused" in keys("revoke", "shop").stderr
    result = keys("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "every request is refused" in result.stderr


def test_revoke(keys: Keys) -> None:
    ids = [create(keys, name, "--scope=read")["id"] for name in ("shop", "shop", "shop", "ops")]
    result = keys("revoke", ids[1])
    assert (result.exit_code, result.stdout) == (0, f"revoked {ids[1]}\n")
    result = keys("revoke", "shop")
    assert (result.exit_code, result.stdout) == (0, f"revoked {ids[0]}\nrevoked {ids[2]}\n")
    assert result.stderr == ""
    check_refused(keys("revoke", "shop"), 1, "shop")
    assert ids[3] in keys("list").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("shop",),
        ("shop", "--scope=root"),
        ("a b", "--scope=read"),
        ("a" * 65, "--scope=read"),
        ("shop", "--scope=read", "--rate=-1"),
        ("shop", "--scope=read", "--rate=nan"),
        ("shop", "--scope=read", "--burst=0"),
        ("shop", "--scope=read", "--quota=1.5"),
        ("shop", "--scope=read", f"--quota={2**63}"),
        ("shop", "--scope=read", "--data="),
        ("shop", "--scope=read", "--keys-file="),
        ("shop", "--scope=read", "--data=a", "--keys-file=b"),
    ],
    ids=" ".join,
)
def test_wrong_arguments(keys: Keys, directory: Path, arguments: tuple[str, ...]) -> None:
    check_refused(keys("create", *arguments), 2)
    assert not directory.exists()


def test_a_bad_file_is_one_line(keys: Keys, directory: Path) -> None:
    create(keys, "shop", "--scope=read")
    (directory / FILE_NAME).chmod(0o644)
    for arguments in (("list",), ("revoke", "shop"), ("create", "shop", "--scope=read")):
        result = keys(*arguments)
        check_refused(result, 1, str(directory / FILE_NAME), "0644")
        assert len(result.stderr.splitlines()) == 1


def test_which_file_is_meant(keys: Keys, directory: Path, tmp_path: Path) -> None:
    file, other = tmp_path / "secrets" / "keys", tmp_path / "other"
    variable = {environment_name("keys_file"): str(file)}
    create(keys, "by-flag", "--scope=read", f"--keys-file={file}")
    create(keys, "by-variable", "--scope=read", **variable)
    create(keys, "by-data", "--scope=read", f"--data={other}", **variable)
    create(keys, "by-default", "--scope=read")
    paths = (file, other / FILE_NAME, directory / FILE_NAME)
    assert [[key.client for key in list_keys(path)] for path in paths] == [
        ["by-flag", "by-variable"],
        ["by-data"],
        ["by-default"],
    ]


def test_beside_a_running_server(keys: Keys, directory: Path) -> None:
    with Server(directory) as server:
        assert server.url
        told = create(keys, "shop", "--scope=read")
        assert told["id"] in keys("list").stdout
        assert keys("revoke", "shop").exit_code == 0
        assert server.stop() == 0
        assert server.complaints == []


@pytest.mark.parametrize("command", [(), ("create",), ("list",), ("revoke",)], ids=" ".join)
def test_help(keys: Keys, command: tuple[str, ...]) -> None:
    result = keys(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    if command:
        for name in ("data", "keys_file"):
            assert environment_name(name) in result.stdout


def test_accept(keys: Keys, directory: Path) -> None:
    create(keys, "shop", "--scope=read")
    path = directory / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b"shop", b"pohs"))
    changed = path.read_bytes()
    check_refused(keys("list"), 1, str(path), "keys accept")
    asked = keys("accept")
    # It shows what it would take, and takes nothing until it is told so.
    assert asked.exit_code == 1 and "pohs" in asked.stdout and path.read_bytes() == changed
    taken = keys("accept", "--yes")
    assert taken.exit_code == 0 and "pohs" in taken.stdout
    assert [key.client for key in list_keys(path)] == ["pohs"]
    path.unlink()
    check_refused(keys("accept", "--yes"), 1, str(path), "no such file")


def test_list_says_that_the_file_is_gone(keys: Keys, directory: Path) -> None:
    create(keys, "shop", "--scope=read")
    (directory / FILE_NAME).unlink()
    result = keys("list")
    assert result.exit_code == 0 and "no server starts without it" in result.stderr
