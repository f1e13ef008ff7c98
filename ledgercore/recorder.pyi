"""The types of recorder.pyx. The docstrings there are its reference."""

import numpy as np
import numpy.typing as npt

from .histogram import Histogram

class Recorder:
    """Counts whole numbers by their size. Any thread may call anything, save `clear`."""

    def record(self, value: int, times: int = 1) -> None: ...
    def record_each(self, values: npt.NDArray[np.int64]) -> None: ...
    def read(self) -> Histogram: ...
    def clear(self) -> None: ...
