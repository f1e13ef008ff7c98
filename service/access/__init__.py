"""Access control: API keys, signatures, nonces, host names and origins."""
