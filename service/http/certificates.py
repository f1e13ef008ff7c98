"""The certificate that TLS is served with, as its files are now.

This module owns how they are read: into a context of their own each time, so that files which do
not belong together change nothing.
"""

import os
import ssl
import stat
from typing import NoReturn

from ..settings import InvalidSetting, Settings


class _NeedsPassword(Exception):
    """The key is encrypted, and a server cannot ask for its password."""


def _refuse_password() -> NoReturn:
    raise _NeedsPassword


def read_certificate(settings: Settings) -> ssl.SSLContext | None:
    """Return the context of the settings' files; None without any. Raises InvalidSetting."""
    if not settings.tls_cert:
        return None
    for name, path in (("tls_cert", settings.tls_cert), ("tls_key", settings.tls_key)):
        try:
            # The library that reads them does not say which one it cannot open; it waits at a pipe.
            if not stat.S_ISREG(os.stat(path).st_mode):
                raise InvalidSetting(name, f"{path}: it is no file")
            open(path, "rb").close()
        except OSError as error:
            raise InvalidSetting(name, f"{path}: {error.strerror}") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # Without a function that says it, the library asks the terminal, and everybody waits.
        context.load_cert_chain(settings.tls_cert, settings.tls_key, _refuse_password)
    except _NeedsPassword:
        raise InvalidSetting(
            "tls_key", f"{settings.tls_key}: it has a password; write it without one"
        ) from None
    except (OSError, ssl.SSLError) as error:
        pair = f"{settings.tls_cert} with {settings.tls_key}"
        raise InvalidSetting("tls_cert", f"{pair} cannot be used: {error}") from None
    return context
