"""Whether a request may come in now: the order of the checks, rates, quotas, deadlines, bounds."""
