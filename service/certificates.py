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
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_cert, settings.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidSetting("tls_cert", f"cannot be used: {error}") from None
    return context
