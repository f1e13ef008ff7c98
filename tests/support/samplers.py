"""Stand-ins of py-spy that fail as the real one does, as executable files.

This module owns their texts: what py-spy 0.4 prints where it may not trace, and a run that does not
end when it is asked to.
"""

import sys
from pathlib import Path

DENIED = """\
Error: Permission Denied: Try running again with elevated permissions by going 'sudo env \
"PATH=$PATH" !!'
"""
"""What py-spy says without the right to trace; its exit code is 1."""


def _write(path: Path, body: str) -> tuple[str, ...]:
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(0o755)
    return (str(path),)


def make_failing(directory: Path, said: str = DENIED) -> tuple[str, ...]:
    """Return the command of a py-spy that says this and exits with 1."""
    body = f"import sys\nsys.stderr.write({said!r})\nsys.exit(1)\n"
    return _write(directory / "py-spy-failing", body)


def make_stubborn(directory: Path) -> tuple[str, ...]:
    """Return the command of a py-spy that heeds no SIGINT; it writes a file `heeds-nothing`."""
    ready = str(directory / "heeds-nothing")
    body = (
        "import pathlib, signal, threading\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"pathlib.Path({ready!r}).touch()\n"
        "threading.Event().wait(60)\n"
    )
    return _write(directory / "py-spy-stubborn", body)
