"""Rate limits in answers: header fields of any answer, and the problem of a refusal.

This module owns how a limit is written. It never counts and never refuses: limiter.pyx does.
Sources: draft-ietf-httpapi-ratelimit-headers-10 for the fields and the problem, RFC 9651 for their
syntax, RFC 9110 section 10.2.3 for `Retry-After`.
"""

from ..wire.problems import NOT_STORED, QUOTA_EXCEEDED, Problem
from .limiter import LimitState

INTEGER_MAX = 999_999_999_999_999
"""The largest integer of a structured field. What is more is told as this."""

UNITS = {"money": "minor-units"}
"""What a quota counts, where that is not requests."""

DETAILS = {
    "client": "The client has asked for more than its rate.",
    "global": "All clients together ask for more than the server takes.",
    "money": "The client has asked to move more money than it may for now.",
}
"""What each limit says when it refuses."""


def make_limit_headers(state: LimitState) -> dict[str, str]:
    """Return the fields that tell a limit; where it has refused, `retry-after` is among them."""
    unit = f';qu="{UNITS[state.name]}"' if state.name in UNITS else ""
    quota, remaining = min(state.quota, INTEGER_MAX), min(state.remaining, INTEGER_MAX)
    headers = {
        "ratelimit-policy": f'"{state.name}";q={quota}{unit};w={min(state.window_s, INTEGER_MAX)}',
        "ratelimit": f'"{state.name}";r={remaining};t={min(state.reset_s, INTEGER_MAX)}',
    }
    if state.retry_after_s > 0:
        headers["retry-after"] = str(state.retry_after_s)
    return headers


def make_limit_problem(state: LimitState) -> Problem:
    """Return the problem that tells a refusal, with all its headers."""
    detail = f"{DETAILS[state.name]} {NOT_STORED}; try again in {state.retry_after_s} s."
    extra = {"violated-policies": [state.name]}
    return Problem(QUOTA_EXCEEDED, detail, headers=make_limit_headers(state), extra=extra)
