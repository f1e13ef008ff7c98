"""The stages: the same transfers, applied in one way after the other, from a dict to the service.

They stay in the tree as references, and all of them are tested for equal results. A further way to
be faster is one more `Stage`, and its name here.
"""

from .engine import BATCHES, JOURNAL, KERNEL, THREADS
from .numpy_arrays import ARRAYS
from .over_http import HTTP_BATCHED, HTTP_BULK, HTTP_NATIVE, HTTP_PLAIN
from .python_dict import DICT
from .stage import Runner, Stage

__all__ = ["STAGES", "Runner", "Stage"]

STAGES: dict[str, Stage] = {
    stage.name: stage
    for stage in (
        DICT,
        ARRAYS,
        KERNEL,
        BATCHES,
        THREADS,
        JOURNAL,
        HTTP_PLAIN,
        HTTP_BATCHED,
        HTTP_NATIVE,
        HTTP_BULK,
    )
}
"""Every stage by its name, in the order in which they are to be read."""
