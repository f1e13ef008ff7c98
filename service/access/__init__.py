"""Who may use a server: API keys, signatures, nonces, host names and origins."""
