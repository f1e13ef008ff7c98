"""Hostile bytes for the parsers in C, under sanitizers: a fuzzer where clang is, and a replay."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.support.servers import ROOT
from tests.support.tables import make_table, write_table

SOURCE = ROOT / "tests" / "ledgercore" / "fuzz_requests.c"
FLAGS = ["-std=gnu11", "-g", "-O1", "-DLC_DEBUG=1", "-fno-sanitize-recover=undefined"]
RUNS = 200_000
SECONDS_MAX = 20
MUTATIONS = 2_000
SEED = 1

REQUESTS, ARRAY, FRAME, MESSAGE, COLUMNS = (bytes([number]) for number in range(5))


def make_corpus() -> list[bytes]:
    """Return inputs that each parser takes, with all that it knows in them."""
    item = {"from": "alice", "to": "bob/2", "amount": 2**63 - 1, "memo": "ünï 漢 🙂"}
    one = json.dumps(item, ensure_ascii=False).encode()
    head = b"POST /transfer HTTP/1.1\r\nHost: localhost:8000\r\nContent-Length: %d\r\n" % len(one)
    more = b"Idempotency-Key: k-1\r\nContent-Type: application/json\r\nConnection: keep-alive\r\n"
    keyed = json.dumps([item | {"idempotency_key": "k-1"}] * 2, indent=1).encode()
    plain = json.dumps([item | {"idempotency_key": "!~"}], ensure_ascii=False).encode()
    who = b"Authorization: Bearer lck_0123abcd_" + b"k" * 43 + b"\r\nX-Request-Timeout-Ms: 250\r\n"
    other = b"x-api-key: " + b"k" * 255 + b"\r\nX-Request-Timeout-Ms: 99999999\r\n"
    ignored = b"Accept: */*\r\nUser-Agent: test\r\n\r\n"
    # The second message is a batch; its body is only more to change.
    metadata = write_table(make_table([("k", "a", "b", 1)])).split(b"\xff" * 4)[2][4:]
    rows = [("k", "alice", "bob", 1), ("k2", "bob", "alice", 2)]
    text = b"keyalicebobmemo" * 4
    numbers = b"".join(n.to_bytes(4, "little") for n in (0, 3, 8, 11, 15, 1, 2, 3, 4)) + bytes(36)
    return [
        REQUESTS + head + more + b"\r\n" + one,
        REQUESTS + 2 * (head + more + ignored + one),
        REQUESTS + head + more + who + b"\r\n" + one + head + more + other + b"\r\n" + one,
        ARRAY + keyed,
        ARRAY + b" \r\n" + plain + b"\t",
        FRAME + write_table(make_table(rows)),
        FRAME + write_table(make_table(rows, pa.dictionary(pa.int8(), pa.large_string())), 1),
        FRAME + write_table(make_table(rows * 9), compression="zstd"),
        MESSAGE + metadata,
        COLUMNS + b"\x07\x00" + numbers + text,
        COLUMNS + b"\xff\x0f" + bytes(72) + text,
    ]


@pytest.fixture
def corpus(tmp_path: Path) -> list[Path]:
    """Write the corpus, a file for each input."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    paths = []
    for number, data in enumerate(make_corpus()):
        paths.append(folder / f"seed-{number}")
        paths[-1].write_bytes(data)
    return paths


def run(*command: str | Path, **options: Any) -> str:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, **options)
    assert done.returncode == 0, done.stderr[-8000:]
    return f"{done.stdout}{done.stderr}"


def build(compiler: str, target: Path, *flags: str) -> Path:
    run(compiler, *FLAGS, *flags, f"-I{ROOT / 'src'}", SOURCE, "-o", target)
    return target


def test_a_fuzzer_finds_nothing(tmp_path: Path, corpus: list[Path]) -> None:
    clang = shutil.which("clang")
    if clang is None:
        pytest.skip("clang is not installed; the replay below runs all the same")
    target = build(clang, tmp_path / "fuzz", "-fsanitize=fuzzer,address,undefined")
    limits = [f"-runs={RUNS}", f"-max_total_time={SECONDS_MAX}", f"-seed={SEED}"]
    told = run(target, *limits, "-max_len=4096", f"-artifact_prefix={tmp_path}/", corpus[0].parent)
    done = re.search(r"Done (\d+) runs", told)
    assert done is not None and int(done[1]) >= len(corpus), told[-2000:]


def test_a_replay_finds_nothing(tmp_path: Path, corpus: list[Path]) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler is not None, "the extensions are compiled by it, too"
    flags = ("-DLC_FUZZ_MAIN", "-fsanitize=address,undefined")
    target = build(compiler, tmp_path / "replay", *flags)
    told = run(target, str(MUTATIONS), str(SEED), *corpus)
    assert f"ran {len(corpus) * (MUTATIONS + 1)}" in told
