"""The certificate that TLS is served with, as its files are now.

This module owns how they are read: into a context of their own each time, so that files which do
not belong together change nothing.
"""

import ssl

from .settings import InvalidSetting, Settings


def read_certificate(settings: Settings) -> ssl.SSLContext | None:
    """Return the context of the settings' files; None without any. Raises InvalidSetting."""
    if not settings.tls_cert:
        return None
    for name, path in (("tls_cert", settings.tls_cert), ("tls_key", settings.tls_key)):
        try:
            # The library that reads them does not say which one it cannot open.
            open(path, "rb").close()
        except OSError as error:
            raise InvalidSetting(name, f"{path}: {error.strerror}") from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        pair = f"{settings.tls_cert} with {settings.tls_key}"
        raise InvalidSetting("tls_cert", f"{pair} cannot be used: {error}") from None
    return context
