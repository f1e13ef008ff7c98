"""Rate limits and quotas: those of each client, and the rate of all clients together.

This module owns the limits and what has been used of them. It never refuses a request itself and
never waits: whoever has a request asks `admit`, and tells what came of it. What a client is told is
in limit_headers.py; the arithmetic, and why it is fair, in token_bucket.h and fair_share.h of
src/admission.

A verdict is given under one lock, so it is whole: a refusal leaves nothing charged, and a change of
the settings falls between two requests. Any number of threads may ask, with or without the GIL.
"""

from cpython.ref cimport Py_REFCNT
from libc.stdint cimport INT64_MAX, int64_t, uint32_t

from ledgercore._c cimport lc_lock_acquire, lc_lock_release, lc_monotonic_ns
from ledgercore.service._c cimport *

import time
from collections import namedtuple

CLIENTS_MAX = 10_000
"""How many clients are kept; as many as there can be keys."""

RATE_MIN, RATE_MAX = 0.001, LC_RATE_MAX // 1000
BURST_MAX, COUNT_MAX, QUOTA_MAX = LC_BURST_MAX, LC_TAKE_MAX, INT64_MAX
WINDOW_MAX_S = 366 * 86_400

LimitState = namedtuple(
    "LimitState", ("name", "quota", "window_s", "remaining", "reset_s", "retry_after_s")
)
LimitState.__doc__ = """One limit of a client: its name, `client`, `global` or `money`; how much of
it there is in how many seconds; how much of that remains; when it is whole again, which where a
request was refused is when it can be asked again; and the latter alone, 0 where it was not."""


class TooManyClients(Exception):
    """There is no room for another client: all that are kept have used something lately."""


cdef int64_t check_rate(str name, rate) except -1:
    """Return a rate in thousandths a second; 0 is off."""
    if rate != 0 and not RATE_MIN <= rate <= RATE_MAX:
        raise ValueError(f"{name}: it is 0 (off), or from {RATE_MIN} to {RATE_MAX} a second")
    return round(rate * 1000)


cdef uint32_t check_burst(str name, burst, int64_t rate) except? 0:
    """Return a burst; 0 is what the rate gives in a second, and at least one."""
    if not 0 <= burst <= BURST_MAX:
        raise ValueError(f"{name}: it is from 0 (one second's worth) to {BURST_MAX}")
    return burst or max(1, rate // 1000)


cdef int64_t check_quota(str name, quota) except -1:
    if not 0 <= quota <= QUOTA_MAX:
        raise ValueError(f"{name}: it is from 0 (off) to {QUOTA_MAX}")
    return quota


cdef class TokenBucket:
    """One bucket alone: `rate` tokens a second, at most `burst` of them saved up.

    Any number of threads may use it at once. Times are nanoseconds of a clock that never goes back.
    """

    cdef lc_bucket bucket

    def __init__(self, rate, burst):
        thousandths = check_rate("rate", rate)
        if thousandths == 0:
            raise ValueError("rate: a bucket without a rate is empty for ever")
        lc_bucket_start(&self.bucket, thousandths, check_burst("burst", burst, thousandths))

    def take(self, int64_t now_ns, uint32_t count=1):
        """Take tokens, all or none, and return whether they were there. More than the burst is
        given by a full bucket, which then is in debt."""
        return lc_bucket_take(&self.bucket, now_ns, count)

    def take_many(self, uint32_t attempts, uint32_t count=1):
        """Try to take so many times, by the system's monotonic clock and without the GIL; return
        how often it went well."""
        cdef uint32_t taken = 0
        with nogil:
            for _ in range(attempts):
                taken += lc_bucket_take(&self.bucket, lc_monotonic_ns(), count)
        return taken

    def wait_ns(self, int64_t now_ns, uint32_t count=1):
        """Return how long it is until so many would be given, if nobody else takes."""
        return lc_bucket_wait_ns(&self.bucket, now_ns, count)

    def left(self, int64_t now_ns):
        """Return how many whole tokens are there."""
        return lc_bucket_left(&self.bucket, now_ns)

    def give_back(self, uint32_t count=1):
        """Undo a take of so many."""
        lc_bucket_give_back(&self.bucket, count)

    def change(self, int64_t now_ns, rate, burst):
        """Change the settings, while nobody else uses it. It stays full to the same part."""
        thousandths = check_rate("rate", rate)
        cdef uint32_t tokens = check_burst("burst", burst, thousandths)
        lc_bucket_change(&self.bucket, now_ns, thousandths, tokens)


cdef class ClientLimit:
    """What one client has used. It belongs to the limiter that made it."""

    def __cinit__(self, str name):
        self.name = name
        self.share.slice = LC_SLICE_NEVER

    cdef int64_t quota_left(self, int64_t now_ns, int64_t window_ns) noexcept nogil:
        if self.spent > 0 and now_ns - self.window_start_ns >= window_ns:
            self.spent = 0
        return self.quota - self.spent if self.quota > self.spent else 0


cdef class Limiter:
    """The limits of all clients.

    Rates are in requests a second and 0 is off; a burst of 0 is one second's worth. A quota is in
    minor units of money for `quota_window_s` seconds, which begin with the first charge. `clock_ns`
    serves the calls from Python; those from C bring the time of the same clock. ValueError names a
    setting that is out of range.
    """

    def __init__(
        self, client_rate=0, client_burst=0, global_rate=0, global_burst=0, quota=0,
        quota_window_s=86_400, clock_ns=None
    ):
        self.clock_ns = clock_ns or time.monotonic_ns
        self.defaults = {}
        self.overrides = {}
        self.clients = {}
        self.configure(
            client_rate, client_burst, global_rate, global_burst, quota, quota_window_s
        )

    # -- a request --------------------------------------------------------------------------------

    cdef int admit(
        self, ClientLimit client, int64_t now_ns, uint32_t count, int64_t amount
    ) noexcept nogil:
        """Charge a request of `count` transfers of `amount` together, or nothing; says which. With
        a count of 0 it is the money alone, of what has paid its rate before."""
        lc_lock_acquire(&self.lock)
        cdef int verdict = self.judge(client, now_ns, count, amount)
        lc_lock_release(&self.lock)
        return verdict

    cdef int judge(
        self, ClientLimit client, int64_t now_ns, uint32_t count, int64_t amount
    ) noexcept nogil:
        cdef int64_t arrival = client.bucket.arrival
        cdef bint has_quota = client.quota > 0 and amount > 0
        if has_quota and amount > client.quota_left(now_ns, self.window_ns):
            return QUOTA_EXCEEDED
        if count > 0 and client.bucket.rate > 0:
            if not lc_bucket_take(&client.bucket, now_ns, count):
                return CLIENT_LIMITED
        if count > 0 and self.bucket.rate > 0 and not lc_fair_take(
            &self.fair, &client.share, &self.bucket, now_ns, count
        ):
            # Set back, and not given back: nobody else has taken since, and this is exact.
            client.bucket.arrival = arrival
            return GLOBAL_LIMITED
        if has_quota:
            if client.spent == 0:
                client.window_start_ns = now_ns
            client.spent += amount  # at most the quota
        return ADMITTED

    cdef void refund_quota(
        self, ClientLimit client, int64_t amount, int64_t admitted_ns
    ) noexcept nogil:
        lc_lock_acquire(&self.lock)
        if amount > 0 and admitted_ns >= client.window_start_ns:
            client.spent -= amount if amount < client.spent else client.spent
        lc_lock_release(&self.lock)

    def admit_now(self, ClientLimit client not None, uint32_t count=1, int64_t amount=0):
        """Charge a request of `count` transfers (the million counts for more) of `amount` minor
        units together, and return the verdict: ADMITTED, or a refusal that has charged nothing."""
        cdef int64_t now_ns = self.clock_ns()
        return <Verdict> self.admit(client, now_ns, count, amount)

    def admit_many(
        self, ClientLimit client not None, uint32_t attempts, int64_t start_ns, int64_t step_ns
    ):
        """Ask for so many single requests, without the GIL, the first at `start_ns` and each
        `step_ns` after the last; return how many were admitted. It is there to measure with."""
        cdef uint32_t admitted = 0
        cdef int64_t now_ns = start_ns
        with nogil:
            for _ in range(attempts):
                admitted += self.admit(client, now_ns, 1, 1) == ADMITTED
                now_ns += step_ns
        return admitted

    def refund(self, ClientLimit client not None, int64_t amount, admitted_ns=None):
        """Undo the charge of a transfer that was refused or replayed: of its money alone, since its
        work was done. With the time of its admission, a window that began since is left alone."""
        cdef int64_t admitted = INT64_MAX if admitted_ns is None else admitted_ns
        self.refund_quota(client, amount, admitted)

    # -- clients ----------------------------------------------------------------------------------

    def find_client(self, str name not None):
        """Return what a client has used, from now on if it is new. For clients that exist alone:
        an unknown name must not get here. Raises TooManyClients.

        Whoever keeps what is returned keeps the client from being forgotten."""
        client = self.clients.get(name)
        if client is None:
            if len(self.clients) >= CLIENTS_MAX:
                self.forget_idle()
            if len(self.clients) >= CLIENTS_MAX:
                raise TooManyClients(f"{CLIENTS_MAX} clients have used something lately")
            client = ClientLimit(name)
            self.apply_settings(client, self.clock_ns())
            client = self.clients.setdefault(name, client)
        return client

    def forget_idle(self):
        """Forget every client that is not in use and has all of its tokens and quota."""
        cdef ClientLimit client
        cdef int64_t now_ns = self.clock_ns()
        for name in list(self.clients):
            client = self.clients[name]
            # Two hold it here: the registry, and the variable.
            if Py_REFCNT(client) == 2 and self.is_idle(client, now_ns):
                del self.clients[name]

    cdef bint is_idle(self, ClientLimit client, int64_t now_ns) noexcept:
        lc_lock_acquire(&self.lock)
        cdef bint is_idle = (
            client.quota_left(now_ns, self.window_ns) == client.quota
            and (
                client.bucket.rate == 0
                or lc_bucket_level(&client.bucket, now_ns) == client.bucket.burst
            )
            and (self.bucket.rate == 0 or not lc_fair_is_active(&self.fair, &client.share))
        )
        lc_lock_release(&self.lock)
        return is_idle

    @property
    def client_count(self):
        """How many clients are kept."""
        return len(self.clients)

    @property
    def active_count(self):
        """How many clients shared the global rate in the last second of which there is word."""
        return self.fair.active

    # -- settings ---------------------------------------------------------------------------------

    def configure(
        self, client_rate=None, client_burst=None, global_rate=None, global_burst=None,
        quota=None, quota_window_s=None
    ):
        """Change settings; None leaves one as it is. A bucket stays full to the same part, a debt
        the same tokens, and what was spent of a quota is spent."""
        given = {
            "client_rate": client_rate,
            "client_burst": client_burst,
            "global_rate": global_rate,
            "global_burst": global_burst,
            "quota": quota,
            "quota_window_s": quota_window_s,
        }
        settings = self.defaults | {k: value for k, value in given.items() if value is not None}
        cdef int64_t rate = check_rate("global_rate", settings["global_rate"])
        cdef uint32_t burst = check_burst("global_burst", settings["global_burst"], rate)
        client = check_rate("client_rate", settings["client_rate"])
        check_burst("client_burst", settings["client_burst"], client)
        check_quota("quota", settings["quota"])
        if not 1 <= settings["quota_window_s"] <= WINDOW_MAX_S:
            raise ValueError(f"quota_window_s: it is from 1 to {WINDOW_MAX_S} seconds")
        self.defaults = settings
        cdef int64_t now_ns = self.clock_ns()
        cdef int64_t window_ns = round(settings["quota_window_s"] * NS_PER_S)
        lc_lock_acquire(&self.lock)
        self.window_ns = window_ns
        if differs(&self.bucket, rate, burst):
            lc_bucket_change(&self.bucket, now_ns, rate, burst)
            lc_fair_start(&self.fair, &self.bucket, now_ns)
        lc_lock_release(&self.lock)
        for each in list(self.clients.values()):
            self.apply_settings(each, now_ns)

    def settings(self):
        """Return the settings as `configure` takes them."""
        return dict(self.defaults)

    def set_override(self, str name not None, rate=None, burst=None, quota=None):
        """Give one client settings of its own; None is what all have, and 0 off (a burst: one
        second's worth of its rate). Raises TooManyClients beyond CLIENTS_MAX of them."""
        override = (rate, burst, quota)
        if override == self.overrides.get(name, (None, None, None)):
            return
        check_burst("burst", burst or 0, check_rate("rate", rate or 0))
        check_quota("quota", quota or 0)
        if override == (None, None, None):
            del self.overrides[name]
        elif name in self.overrides or len(self.overrides) < CLIENTS_MAX:
            self.overrides[name] = override
        else:
            raise TooManyClients(f"{CLIENTS_MAX} clients have settings of their own")
        if (client := self.clients.get(name)) is not None:
            self.apply_settings(client, self.clock_ns())

    cdef int apply_settings(self, ClientLimit client, int64_t now_ns) except -1:
        """Let a client have the settings that are in force for it."""
        rate, burst, quota = self.overrides.get(client.name, (None, None, None))
        if burst is None:
            # The burst of all belongs to the rate of all.
            burst = self.defaults["client_burst"] if rate is None else 0
        cdef int64_t thousandths = check_rate(
            "rate", self.defaults["client_rate"] if rate is None else rate
        )
        cdef uint32_t tokens = check_burst("burst", burst, thousandths)
        cdef int64_t minor_units = self.defaults["quota"] if quota is None else quota
        lc_lock_acquire(&self.lock)
        client.quota = minor_units
        if differs(&client.bucket, thousandths, tokens):
            lc_bucket_change(&client.bucket, now_ns, thousandths, tokens)
        lc_lock_release(&self.lock)
        return 0

    # -- what is told -----------------------------------------------------------------------------

    def describe(
        self, ClientLimit client not None, now_ns=None, int verdict=0, uint32_t count=1,
        int64_t amount=INT64_MAX
    ):
        """Return the LimitState of the limit that a verdict speaks of, of this count and amount;
        after ADMITTED that of the first that is on: client, money, global. None: all are off."""
        cdef int64_t now = self.clock_ns() if now_ns is None else now_ns
        cdef int64_t wait_ns
        cdef lc_bucket bucket
        cdef bint is_refused = verdict != ADMITTED
        if verdict == CLIENT_LIMITED or not is_refused and client.bucket.rate > 0:
            bucket = client.bucket
            wait_ns = lc_bucket_wait_ns(&bucket, now, count)
            return describe_bucket("client", &bucket, now, wait_ns, is_refused)
        if verdict == QUOTA_EXCEEDED or not is_refused and client.quota > 0:
            return self.describe_quota(client, now, is_refused, amount)
        if verdict == GLOBAL_LIMITED or self.bucket.rate > 0:
            lc_lock_acquire(&self.lock)
            bucket = self.bucket
            wait_ns = lc_fair_wait_ns(&self.fair, &client.share, &bucket, now, count)
            lc_lock_release(&self.lock)
            return describe_bucket("global", &bucket, now, wait_ns, is_refused)
        return None

    cdef object describe_quota(
        self, ClientLimit client, int64_t now_ns, bint is_refused, int64_t amount
    ):
        lc_lock_acquire(&self.lock)
        cdef int64_t left = client.quota_left(now_ns, self.window_ns)
        cdef int64_t end_ns = client.window_start_ns + self.window_ns
        # Without a charge no window has begun: one that the quota never lets in waits a whole one.
        cdef int64_t rest_ns = end_ns - now_ns if client.spent > 0 else self.window_ns
        cdef bint is_whole = client.spent == 0
        lc_lock_release(&self.lock)
        reset_s = 0 if is_whole and not is_refused else max(1, ceil_s(rest_ns))
        # What was in the way may be given back by now, or the quota another.
        wait_s = (1 if amount <= left else reset_s) if is_refused else 0
        return LimitState("money", client.quota, ceil_s(self.window_ns), left, reset_s, wait_s)


cdef bint differs(const lc_bucket* bucket, int64_t rate, uint32_t burst) noexcept:
    return bucket.rate != rate or bucket.burst != <int64_t> burst << bucket.shift


cdef object describe_bucket(
    str name, const lc_bucket* bucket, int64_t now_ns, int64_t wait_ns, bint is_refused
):
    """A bucket as a quota in a window: its burst in the time that fills it, or where that is less
    than a second, what a second brings."""
    cdef int64_t burst = bucket.burst >> bucket.shift
    quota, window_s = burst, (burst * 1000 + bucket.rate - 1) // bucket.rate
    if burst * 1000 < bucket.rate:
        quota, window_s = bucket.rate // 1000, 1
    if is_refused:
        # What is there is not for this request, so it is not told either.
        retry_after_s = max(1, ceil_s(wait_ns))
        return LimitState(name, quota, window_s, 0, retry_after_s, retry_after_s)
    full_ns = lc_bucket_wait_at(bucket, now_ns, bucket.burst)
    left = min(lc_bucket_left(bucket, now_ns), quota)
    return LimitState(name, quota, window_s, left, ceil_s(full_ns), 0)


cdef int64_t ceil_s(int64_t ns) noexcept:
    return (ns + NS_PER_S - 1) // NS_PER_S
