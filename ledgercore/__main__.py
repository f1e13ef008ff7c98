"""Lets `python -m ledgercore` do what the command `ledgercore` does; owns nothing else.

The command is of a layer above, of which nothing here knows. So it is found as pip has found it: by
what the distribution says of itself. Signals that come meanwhile wait: the command takes them.
"""

import signal
import sys

DISTRIBUTION = "ledgercore-engine"


def main() -> None:
    """Run the command, and exit as it says."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    from importlib.metadata import entry_points

    for command in entry_points(group="console_scripts", name="ledgercore"):
        if command.dist is not None and command.dist.name == DISTRIBUTION:
            command.load()()
            return
    sys.exit(f"ledgercore: the command is not here, for {DISTRIBUTION} is not installed")


if __name__ == "__main__":
    main()
