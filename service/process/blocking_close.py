"""A blocking close when a server stops: in a thread, or here where there can be none.

This module owns that a stop needs no memory for a thread. It knows nothing of what is closed.
"""

import asyncio
from collections.abc import Callable


async def close_apart(close: Callable[[], None]) -> None:
    """Call `close`, which blocks and can be repeated, in a thread; or here, if there can be none.

    Nobody is served any more by then, so to wait here holds nobody up.
    """
    try:
        await asyncio.to_thread(close)
    except RuntimeError:
        close()
