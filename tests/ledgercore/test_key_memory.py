"""What the key table takes of the machine: the bound that docs/ and --help state, by RSS."""

import subprocess
import sys

from tests.support.servers import ROOT

KEYS_MAX = 1 << 20
BYTES_A_KEY_MAX = 200

SCRIPT = f"""
import resource, time
from ledgercore import Status
from tests.support.histories import open_funded, open_small
from tests.support.making import many_rows

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

options = {{"durability": "memory", "keys_max": {KEYS_MAX}, "key_ttl_s": 1, "batch_max": 8192}}
with open_small(None, **options) as ledger:
    open_funded(ledger, ["alice"], 0)
    ledger.transfer_batch(many_rows(32_768, start=1 << 40))
    before, start, taken = peak(), 0, 0
    deadline = time.monotonic() + 60
    # Over at least two changes of generations, each of which holds as many keys as may be.
    while taken < 3 * {KEYS_MAX} and time.monotonic() < deadline:
        statuses = ledger.transfer_batch(many_rows(32_768, start=start))["status"]
        start += 32_768
        taken += int((statuses == Status.APPLIED).sum())
        assert ledger.statistics().keys <= {KEYS_MAX}
    assert taken >= 3 * {KEYS_MAX}, taken
    print(peak() - before)
"""


def test_a_key_takes_no_more_than_is_said() -> None:
    told = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stderr
    assert int(told.stdout) <= BYTES_A_KEY_MAX * KEYS_MAX
