"""Admission of requests: the order of the checks, rates, quotas, deadlines, bounds."""
