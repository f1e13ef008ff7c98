"""The page about signed requests: its example is worked once more, by all that it shows."""

import hashlib
import hmac
import re
import shutil
import subprocess
import sys
from contextlib import closing

import pytest

from ledgercore.client.signing import HEADER, sign
from ledgercore.service.access.nonces import COUNT_MAX, WINDOW_S, NonceMemory
from ledgercore.service.access.signatures import CHALLENGE, SignatureCheck
from tests.support.servers import ROOT

PAGE = (ROOT / "docs" / "signed-requests.md").read_text()
EXAMPLE = PAGE.partition("## A worked example")[2]
DIGEST = "d7a0277a40549b24ca3befef0bcabcfbf416a96a9571093377552b596f5d9552"


def cell(name: str) -> list[str]:
    """Return what stands in backticks in a row of the example."""
    row = re.search(rf"^\| {re.escape(name)} \| (.+) \|$", EXAMPLE, re.M)
    assert row, name
    return re.findall(r"`([^`]+)`", row[1])


def block(language: str) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)
    assert found, language
    return found[1]


SECRET, T, N = cell("secret")[0], int(cell("`t`")[0]), cell("`n`")[0]
METHOD, TARGET = cell("method and target")
BODY = cell("body")[0].encode()
LINE = f"{HEADER}: t={T},n={N},v1={DIGEST}"


def test_the_digest_is_that_of_the_values() -> None:
    assert cell("digest") == [DIGEST]
    assert f"\n    {LINE}\n" in PAGE
    text = f"{T}.{N}.{METHOD}.{TARGET}.".encode() + BODY
    assert hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest() == DIGEST
    assert f"{HEADER}: {sign(SECRET, METHOD, TARGET, BODY, timestamp=T, nonce=N)}" == LINE


def test_the_request_passes_once() -> None:
    with closing(NonceMemory(None, clock=lambda: T)) as nonces:
        checker = SignatureCheck(nonces, clock=lambda: T)
        header = LINE.removeprefix(f"{HEADER}: ")
        checker.check(SECRET, "alice", METHOD, TARGET, BODY, header)
        with pytest.raises(Exception, match="nonce was used before"):
            checker.check(SECRET, "alice", METHOD, TARGET, BODY, header)


@pytest.mark.skipif(not shutil.which("openssl"), reason="there is no openssl")
def test_five_lines_of_shell() -> None:
    assert block("sh").count("\n") == 5
    run = subprocess.run(["bash", "-euc", block("sh")], capture_output=True, text=True, check=True)
    assert run.stdout == LINE + "\n"


def test_five_lines_of_python() -> None:
    assert len(block("python").split("\n\n", 1)[-1].splitlines()) == 4  # and the import
    command = [sys.executable, "-c", block("python")]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert run.stdout == LINE + "\n"


def test_what_the_page_says_of_the_server() -> None:
    assert f"WWW-Authenticate: {CHALLENGE}" in PAGE
    assert f"up to {WINDOW_S} s from the server's clock" in PAGE
    assert COUNT_MAX == 1_000_000 and "a million of them" in PAGE
