"""The first lines of the command: signals at any moment, and descriptors that are closed."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.support.servers import ROOT, make_environment, run_command
from tests.support.standing import find_url, read_until, serve_raw
from tests.support.waiting import DEADLINE_S, wait_until

# Says when the handlers stand, and goes on as the command does.
WATCHED = """
import os, sys
from ledgercore.service.process import signals
real = signals.ProcessSignals.install
def install(self):
    real(self)
    told = os.environ.get("HEEDING")
    os.write(int(told), b"heeding\\n") if told else os.kill(os.getpid(), 15)
signals.ProcessSignals.install = install
sys.argv = ["ledgercore", *sys.argv[1:]]
from ledgercore.service.cli.start import main
main()
"""
MOMENTS = [0, 5, 20, 80, 160, 250, 350, 450, 550, 700, 900]
"""Milliseconds from the moment at which the handlers stand."""


@pytest.mark.parametrize(
    ("number", "moment_ms"),
    [
        *((signal.SIGTERM, moment) for moment in MOMENTS),
        *((signal.SIGINT, moment) for moment in MOMENTS[::3]),
    ],
)
def test_no_order_to_stop_is_lost(tmp_path: Path, number: int, moment_ms: int) -> None:
    """Sent in any moment of the start, it ends the process with 0, and without a complaint."""
    reading, writing = os.pipe()
    with subprocess.Popen(
        [sys.executable, "-c", WATCHED, "serve", "--port=0", f"--data={tmp_path / 'ledger'}"],
        cwd=ROOT,
        env=make_environment(HEEDING=str(writing)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=[writing],
    ) as process:
        try:
            assert read_until(reading, b"heeding")
            wait_ms(moment_ms)
            process.send_signal(number)
            _, stderr = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
            os.close(reading)
            os.close(writing)
    assert process.returncode == 0, stderr
    assert b"Traceback" not in stderr and b'"error"' not in stderr


def wait_ms(moment_ms: int) -> None:
    """Let so many milliseconds pass, which is what the test is about."""
    signal.sigtimedwait([], moment_ms / 1000)


SOUGHT = """
import importlib.metadata as metadata, os, signal
seek = metadata.entry_points
def told(**names):
    os.kill(os.getpid(), signal.SIGTERM)
    return seek(**names)
metadata.entry_points = told
from ledgercore.__main__ import main
main()
"""


@pytest.mark.parametrize("program", [WATCHED, SOUGHT], ids=["command", "module"])
def test_a_server_that_was_told_to_stop_before_it_began_has_touched_nothing(
    tmp_path: Path, program: str
) -> None:
    """Also while `python -m ledgercore` looks for the command, before a handler can stand."""
    result = subprocess.run(
        [sys.executable, "-c", program, "serve", "--port=0", f"--data={tmp_path / 'ledger'}"],
        cwd=ROOT,
        env=make_environment(),
        capture_output=True,
        timeout=DEADLINE_S,
    )
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert not (tmp_path / "ledger").exists()


def test_sighup_before_it_is_ready_is_no_end(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with serve_raw(tmp_path / "ledger", "--demo-accounts=100000", stdout=writing) as process:
        wait_until(lambda: heeds(process.pid, signal.SIGHUP), "the handlers to stand")
        for _ in range(20):
            process.send_signal(signal.SIGHUP)
            wait_ms(20)
        url = find_url(read_until(reading, b"://"))
        assert httpx.get(f"{url}/readyz").status_code == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    os.close(reading)
    os.close(writing)


def heeds(pid: int, number: signal.Signals) -> bool:
    """Return whether a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = (line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
    return bool(int(mask, 16) & (1 << (number - 1)))


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="to be the first process of a namespace takes root and unshare",
)
@pytest.mark.parametrize("moment_ms", [0, 100, 300, 600])
def test_the_first_process_of_a_container_stops_as_well(tmp_path: Path, moment_ms: int) -> None:
    """The kernel drops every signal that it has no handler for."""
    prefix = ["unshare", "--pid", "--fork", "--mount-proc"]
    with serve_raw(tmp_path / "ledger", prefix=prefix) as unshare:
        children = Path(f"/proc/{unshare.pid}/task/{unshare.pid}/children")
        first = int(wait_until(lambda: children.read_text().strip(), "the process to begin"))
        wait_until(lambda: heeds(first, signal.SIGTERM), "the handlers to stand")
        wait_ms(moment_ms)
        os.kill(first, signal.SIGTERM)
        assert unshare.wait(DEADLINE_S) == 0


def test_handlers_stand_before_what_is_heavy_is_imported() -> None:
    program = (
        "import sys\n"
        "from ledgercore.service.process import signals\n"
        "def install(self):\n"
        "    heavy = {'numpy', 'sanic', 'click', 'ledgercore.errors', 'asyncio', 'logging'}\n"
        "    sys.exit(1 if heavy & set(sys.modules) else 7)\n"
        "signals.ProcessSignals.install = install\n"
        "sys.argv = ['ledgercore', 'serve']\n"
        "from ledgercore.service.cli.start import main\n"
        "main()\n"
    )
    # Without what site-packages themselves begin with, which may import anything.
    names = ROOT / "build/names/ledgercore"
    begin = f"sys.path.insert(0, {str(ROOT)!r})\nimport ledgercore\n"
    begin += f"ledgercore.__path__.append({str(names)!r})\n"
    program = f"import sys\n{begin}{program}"
    result = subprocess.run([sys.executable, "-I", "-S", "-c", program], timeout=DEADLINE_S)
    assert result.returncode == 7


@pytest.mark.parametrize("closed", [(1,), (2,), (1, 2), (0, 1, 2)], ids=str)
def test_closed_descriptors_are_opened_on_nothing(tmp_path: Path, closed: tuple[int, ...]) -> None:
    def close() -> None:
        for number in closed:
            os.close(number)

    with serve_raw(tmp_path / "ledger", "--demo-accounts=2", prepare=close) as process:
        folder = Path(f"/proc/{process.pid}/fd")
        wait_until(lambda: (tmp_path / "ledger" / "seal").exists(), "the ledger to be there")
        for number in closed:
            assert os.readlink(folder / str(number)) == os.devnull
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0


def test_other_commands_end_by_signals_as_all_do() -> None:
    assert run_command("--version").returncode == 0
    program = (
        "import signal, sys\n"
        "sys.argv = ['ledgercore', 'admin', '--help']\n"
        "from ledgercore.service.cli.start import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "sys.exit(signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL, timeout=DEADLINE_S
    )
    assert result.returncode == 0


@pytest.mark.parametrize("limit_mib", [128, 256, 383])
@pytest.mark.parametrize("arguments", ["serve --port 0", "admin --help"])
def test_little_address_space_is_one_line(tmp_path: Path, limit_mib: int, arguments: str) -> None:
    """An import that fails for want of it is a traceback, or a signal."""
    program = f"ulimit -v {limit_mib << 10}; exec {sys.executable} -m ledgercore {arguments}"
    done = subprocess.run(
        ["sh", "-c", program],
        cwd=ROOT,
        env=make_environment(LEDGERCORE_DATA=str(tmp_path / "ledger")),
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), done.stderr
    assert done.stderr.startswith(f"ledgercore: this process may have {limit_mib} MiB of address")
    assert not (tmp_path / "ledger").exists()
