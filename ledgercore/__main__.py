"""The processes that an engine starts beside itself. Not for people: theirs is the command.

python -m ledgercore snapshot DIR ACCOUNTS_MAX KEYS_MAX
python -m ledgercore witness DIR LSN ACCOUNTS_MAX KEYS_MAX
"""

import sys

from . import snapshots, witness

HELPERS = {"snapshot": snapshots.main, "witness": witness.main}

if __name__ == "__main__":
    sys.exit(HELPERS[sys.argv[1]](sys.argv[2:]))
