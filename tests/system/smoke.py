"""What an installed wheel must do: be imported, serve, move money once, and keep it through a kill.

It is run by the interpreter that has the wheel, in an empty folder: by `make wheel`, by
`test_packaging.py` and by what builds wheels elsewhere. It needs nothing that the wheel does not
bring, and is not collected as a test.
"""

import signal
import subprocess
import sys
from pathlib import Path

import ledgercore
from ledgercore.client import LedgerClient, TransferResult

# The command stands beside the interpreter that the wheel was installed for.
COMMAND = (Path(sys.executable).with_name("ledgercore"), "serve", "--port=0", "--data=data")
DEMO = ("--demo-accounts=2", "--demo-funds=100")
WAIT_S = 60


def transfer_once(end: signal.Signals) -> tuple[TransferResult, int, int]:
    """Serve, send one transfer, and end the server: its outcome, a balance, and the exit code."""
    with subprocess.Popen([*COMMAND, *DEMO], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            url = next(word for line in server.stdout for word in line.split() if "http://" in word)
            with LedgerClient(url) as client:
                result = client.transfer("acct-0", "acct-1", 40, key="first")
                balance = client.account("acct-1").balance
            server.send_signal(end)
            return result, balance, server.wait(WAIT_S)
        finally:
            server.kill()


def main() -> None:
    """Try the wheel; anything but exit code 0 says that it is of no use."""
    here = Path.cwd()
    assert not any(here.iterdir()), f"{here} is not empty"
    with ledgercore.open(None, durability="memory") as ledger:
        ledger.open_account("world", asset="USD/2", floor=None)
        ledger.open_account("alice", asset="USD/2")
        assert ledger.transfer("world", "alice", 5, key="k").is_applied
    first, balance, _ = transfer_once(signal.SIGKILL)
    assert (first.status, first.replayed, balance) == ("applied", False, 140)
    again, balance, code = transfer_once(signal.SIGTERM)
    assert (again.id, again.replayed, balance) == (first.id, True, 140)
    assert code == 0, f"the server ended with {code}"
    place = Path(ledgercore.__file__).parent
    print(f"ledgercore {ledgercore.__version__} in {place} serves, and keeps what it has answered")


if __name__ == "__main__":
    main()
