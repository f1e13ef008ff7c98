"""Who may read the file of the API keys: its owner, and a group of the program that serves."""

import os
import stat
import struct
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ledgercore.service.access.api_keys import Scope
from ledgercore.service.access.key_file import FILE_NAME, KeyFileError, create_key, list_keys
from ledgercore.service.access.private_files import make_directory
from tests.support.servers import ROOT
from tests.support.waiting import DEADLINE_S


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / FILE_NAME


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def check_refused(path: Path, *words: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        list_keys(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"{path}: ")
    for word in words:
        assert word in line


@pytest.mark.parametrize("mode", [0o440, 0o640])
def test_a_group_of_ours_may_read_it(path: Path, mode: int) -> None:
    """As that of a secret that is mounted does."""
    create_key(path, "shop", Scope.READ)
    path.chmod(mode)
    assert path.stat().st_gid in {os.getegid(), *os.getgroups()}
    assert len(list_keys(path)) == 1
    create_key(path, "ops", Scope.READ)
    # What takes its place is no harder to read for who reads it.
    assert mode_of(path) == 0o640 and len(list_keys(path)) == 2


SERVE_AS = """
import os, sys
from pathlib import Path
from ledgercore.service.access.key_file import KeyFileError, list_keys
path, group, groups = Path(sys.argv[1]), int(sys.argv[2]), list(map(int, sys.argv[3].split()))
os.setgroups(groups)
os.setgid(group)
os.setuid(65534)
try:
    print(len(list_keys(path)))
except KeyFileError as error:
    print(error)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become others")
@pytest.mark.parametrize(
    ("owner", "mode", "group", "groups", "told"),
    [
        (0, 0o440, 4711, "", "1"),
        (0, 0o640, 4711, "", "1"),
        (0, 0o440, 1, "4711 2", "1"),
        (65534, 0o640, 1, "4711", "1"),
        (65534, 0o640, 1, "2", "its group 4711 is none of this program's"),
        (65534, 0o644, 4711, "", "its mode is 0644"),
        (0, 0o400, 4711, "", "Permission denied"),
    ],
)
def test_a_mounted_secret_is_read_by_its_group(
    owner: int, mode: int, group: int, groups: str, told: str
) -> None:
    with TemporaryDirectory(dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, FILE_NAME)
        create_key(path, "shop", Scope.READ)
        os.chown(path, owner, 4711)
        path.chmod(mode)
        done = subprocess.run(
            [sys.executable, "-c", SERVE_AS, str(path), str(group), groups],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert told in done.stdout, done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_reads_what_a_directory_s_group_may_read(path: Path) -> None:
    create_key(path, "shop", Scope.READ)
    os.chown(path, 0, 4711)
    path.chmod(0o640)
    check_refused(path, "group 4711")
    os.chown(path.parent, 65534, 4711)
    create_key(path, "ops", Scope.READ)
    assert (path.stat().st_uid, path.stat().st_gid, mode_of(path)) == (0, 4711, 0o640)


def test_a_list_of_others_who_may_read_it_refuses(path: Path) -> None:
    """Their rights show as those of the group."""
    create_key(path, "shop", Scope.READ)
    # Version 2; the owner, the user 4711, the group, the mask and the others.
    entries = [(1, 6, 2**32 - 1), (2, 4, 4711), (4, 0, 2**32 - 1), (16, 4, 2**32 - 1)]
    entries.append((32, 0, 2**32 - 1))
    raw = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)
    try:
        os.setxattr(path, "system.posix_acl_access", raw)
    except OSError as error:
        pytest.skip(f"this file system has no such lists: {error}")
    assert mode_of(path) == 0o640
    check_refused(path, "list of others")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files for others")
def test_what_root_makes_belongs_to_whom_the_directory_belongs_to(path: Path) -> None:
    path.parent.mkdir()
    os.chown(path.parent, 65534, 65533)
    create_key(path, "shop", Scope.READ)
    create_key(path, "shop", Scope.READ)
    for file in path.parent.iterdir():
        assert (file.stat().st_uid, file.stat().st_gid, mode_of(file)) == (65534, 65533, 0o600)


@pytest.mark.parametrize("umask", [0, 0o022, 0o377])
def test_directories_that_are_made_are_the_owners_alone(tmp_path: Path, umask: int) -> None:
    inner = tmp_path / "outer" / "inner"
    before = os.umask(umask)
    try:
        make_directory(inner)
    finally:
        os.umask(before)
    assert [mode_of(path) for path in (inner.parent, inner)] == [0o700, 0o700]
    inner.chmod(0o755)
    make_directory(inner)
    assert mode_of(inner) == 0o755


def test_a_directory_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_directory(tmp_path / "file")
