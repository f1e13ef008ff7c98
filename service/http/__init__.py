"""The bytes of a connection: listening, the native reader, strict framing, slow clients."""
