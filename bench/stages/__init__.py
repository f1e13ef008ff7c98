"""The stages: the same transfers, applied in one way after the other, from a dict to the service.

They stay in the tree as references: each is a small file that can be read beside the next, and all
of them are tested for equal results. A further way to be faster is one more file, and its name
here.
"""

from . import (
    batches,
    http_batched,
    http_bulk,
    http_native,
    http_plain,
    journal,
    kernel,
    numpy_arrays,
    python_dict,
    threads,
)
from .stage import Runner, Stage

__all__ = ["STAGES", "Runner", "Stage"]

STAGES: dict[str, Stage] = {
    module.STAGE.name: module.STAGE
    for module in (
        python_dict,
        numpy_arrays,
        kernel,
        batches,
        threads,
        journal,
        http_plain,
        http_batched,
        http_native,
        http_bulk,
    )
}
"""Every stage by its name, in the order in which they are to be read."""
