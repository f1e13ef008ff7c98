"""Which handler an address has: exactly that address, and none that is nearly the same.

This module owns that a slash too many makes another address. It knows none of them.
"""

from collections.abc import Callable
from typing import Any

from sanic.router import Router
from sanic_routing.exceptions import NoMethod, NotFound
from sanic_routing.route import Route


class ExactRouter(Router):
    """Sanic's router, which takes off as many slashes as it needs to find something."""

    def resolve(
        self,
        path: str,
        *,
        method: str | None = None,
        orig: str | None = None,
        extra: dict[str, str] | None = None,
    ) -> tuple[Route, Callable[..., Any], dict[str, Any]]:
        """Return what is at an address; `orig` is the one before a slash was taken off."""
        if orig is not None and (orig.endswith("//") or not path):
            raise NotFound(path=path)
        try:
            return super().resolve(path, method=method, orig=orig, extra=extra)
        except NoMethod:
            # What may have slashes in it may seem to be empty, behind the slash of another address.
            if path.endswith("/") and self._has(path[:-1], method):
                raise NotFound(path=path) from None
            raise

    def _has(self, path: str, method: str | None) -> bool:
        try:
            super().resolve(path, method=method)
        except (NoMethod, NotFound):
            return False
        return True
