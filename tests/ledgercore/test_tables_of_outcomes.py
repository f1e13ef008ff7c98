"""The outcomes of a batch, where programs put them next: in pandas, Polars and their files."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import polars as pl
import pytest

import ledgercore
from ledgercore import OUTCOME, Status
from tests.support.histories import batch_of, open_funded, open_small

COLUMNS = ["id", "time_ns", "status", "replayed"]
STATUSES = [Status.APPLIED, Status.INSUFFICIENT_FUNDS, Status.APPLIED]


@pytest.fixture
def outcomes(directory: Path) -> Iterator[npt.NDArray[np.void]]:
    """What a small batch came to: one applied, one refused, one repeated."""
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice", "bob"], 100)
        alice, bob = (int(slot) for slot in ledger.slots(["alice", "bob"]))
        rows = [("a", alice, bob, 5), ("b", alice, bob, 5000), ("a", alice, bob, 5)]
        yield ledger.transfer_batch(batch_of(ledger, rows))


def check(found: Any, outcomes: npt.NDArray[np.void]) -> None:
    """Compare a table, as a dict of lists, with the rows."""
    assert list(found)[: len(COLUMNS)] == COLUMNS
    assert found == {name: outcomes[name].tolist() for name in OUTCOME.names or ()}
    assert found["status"] == STATUSES and found["replayed"] == [0, 0, 1]
    assert found["id"][0] == found["id"][2] > 0


def test_no_padding_is_seen(outcomes: npt.NDArray[np.void]) -> None:
    assert OUTCOME.names is not None and OUTCOME.fields is not None
    assert all(kind.kind in "ui" for kind, *_ in OUTCOME.fields.values())
    assert list(OUTCOME.names)[: len(COLUMNS)] == COLUMNS
    assert outcomes.dtype == OUTCOME and OUTCOME.itemsize == 24


@pytest.mark.parametrize("step", [1, 2], ids=["whole", "every second"])
def test_pandas(outcomes: npt.NDArray[np.void], step: int) -> None:
    frame = pd.DataFrame(outcomes[::step])
    assert frame.to_dict("list") == {name: outcomes[name][::step].tolist() for name in frame}
    assert repr(frame) and not frame.isna().any(axis=None)


def test_pandas_to_parquet(outcomes: npt.NDArray[np.void]) -> None:
    file = io.BytesIO()
    pd.DataFrame(outcomes).to_parquet(file)
    check(pd.read_parquet(file).to_dict("list"), outcomes)


def test_pandas_counts_what_came_of_a_batch(outcomes: npt.NDArray[np.void]) -> None:
    counts = pd.DataFrame(outcomes).groupby("status").size().to_dict()
    assert counts == {int(Status.APPLIED): 2, int(Status.INSUFFICIENT_FUNDS): 1}


def test_polars(outcomes: npt.NDArray[np.void]) -> None:
    check(pl.DataFrame(outcomes).to_dict(as_series=False), outcomes)
    check(pl.from_numpy(outcomes).to_dict(as_series=False), outcomes)


def test_polars_to_parquet(outcomes: npt.NDArray[np.void]) -> None:
    file = io.BytesIO()
    pl.DataFrame(outcomes).write_parquet(file)
    check(pl.read_parquet(file.getvalue()).to_dict(as_series=False), outcomes)


def test_a_row_can_be_saved_and_loaded(outcomes: npt.NDArray[np.void], tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", outcomes)
    loaded = np.load(tmp_path / "rows.npy")
    assert loaded.dtype == ledgercore.OUTCOME and (loaded == outcomes).all()
