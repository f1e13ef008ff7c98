"""Admission: identity, limits and deadline of every request, on the native and the ordinary way.

This module owns the order of the checks, for every way in:

1. `identify`: who asks, and whether its scope allows it (`unauthorized`, `forbidden`);
2. whether there is room for more in flight (`overloaded`);
3. where its quota of money does not reach, whether its keys can be looked up (`overloaded`);
4. its own rate, then the rate of all (`quota-exceeded`);
5. its quota of money (`above-quota`, `quota-exceeded`), for what is new of it;
6. the deadline, which the engine heeds (`deadline-passed`).

`judge` is 2 to 4, and stands once: the native way calls it, and `admit` for the ordinary way. What
they refuse has not reached the engine, and nothing is told of its key. Money refuses only what is
new, so that its keys are looked up first (key_lookups.py). It never reads a request.

Times are of CLOCK_MONOTONIC, in nanoseconds, as those of the engine and the limits.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t

from ledgercore._c cimport *
from ledgercore.service._c cimport *
from ledgercore.submission cimport Submission
from ledgercore.service.admission.in_flight cimport InFlight
from ledgercore.service.admission.limiter cimport ADMITTED, QUOTA_EXCEEDED, ClientLimit, Limiter

from .limiter import TooManyClients
from ..access.key_ring import Scope
from ..wire.errors import encode_error
from .limit_headers import make_limit_problem
from ..wire.problems import (
    ABOVE_QUOTA, FORBIDDEN, NOT_STORED, OVERLOADED, QUEUE_FULL, QUOTA_EXCEEDED as LIMITED,
    UNAUTHORIZED, Problem
)

cdef enum:
    LOOK_INTERVAL_NS = 100_000_000  # The ring looks at its file more seldom still.
    ANSWERS_MAX = 256  # whole answers that are kept, to refuse with

REALM = 'Bearer realm="ledgercore"'


cdef class Client:
    """A client: its name, which is the scope of its idempotency keys, and what it may do."""

    def __init__(self, str name not None, credential, ClientLimit limit not None):
        """Make the client of a credential; of none in open mode."""
        self.name = name
        self.id = name.encode()
        self.credential = credential
        self.limit = limit
        self.scope = Scope.ADMIN if credential is None else credential.scope
        self.is_signed = credential is not None and credential.is_signed
        self.is_plain = self.scope >= Scope.TRANSFER and not self.is_signed

    cdef lc_text text(self) noexcept:
        """The name, as the engine takes it."""
        cdef lc_text name
        name.start = self.id
        name.length = <uint32_t> len(self.id)
        return name


cdef class Charge:
    """What a client was charged for a request that was admitted, of its money, and when.

    What has not moved by that request is given back, exactly once: by `refund_unmoved` when it is
    known, or by `refund` where the engine has taken nothing.
    """

    def __init__(self, Limiter limiter, Client client, int64_t amount, int64_t charged_ns):
        self.limiter = limiter
        self.client = client
        self.amount = amount
        self.charged_ns = charged_ns

    def refund_unmoved(self, Submission submission not None, index=None):
        """Give back what has not moved of a transfer that has completed; without an index, of all
        of the submission, which then was one request."""
        cdef int64_t moved
        if self.amount == 0:
            return
        if index is None:
            moved = submission.sum_new()
        else:
            moved = self.amount if has_moved(submission, index) else 0
        self.limiter.refund_quota(self.client.limit, self.amount - moved, self.charged_ns)

    def refund(self):
        """Give back all of it."""
        self.limiter.refund_quota(self.client.limit, self.amount, self.charged_ns)


cdef class Admission:
    """The keys, the limits and the deadline of one server. Used in its event loop only."""

    def __init__(
        self, keys, signatures, Limiter limiter not None, int64_t deadline_ms=0,
        InFlight in_flight=None
    ):
        self.in_flight = InFlight() if in_flight is None else in_flight
        self.is_look_up_full = lambda: False
        self.keys = keys
        self.signatures = signatures
        self.limiter = limiter
        self.deadline_ns = deadline_ms * NS_PER_MS
        self.answers = {}
        self.overridden = set()
        self.generation = 0
        self.load()

    def load(self):
        """Load the present keys of the key ring."""
        limits = dict.fromkeys(self.overridden, (None, None, None))
        self.overridden = set()
        # The oldest key comes first; what a newer one of the same client says counts.
        for credential in self.keys.credentials():
            own = (credential.rate, credential.burst, credential.quota)
            known = limits[credential.client] if credential.client in self.overridden else own
            limits[credential.client] = tuple(
                old if new is None else new for old, new in zip(known, own, strict=True)
            )
            self.overridden.add(credential.client)
        for name, (rate, burst, quota) in limits.items():
            self.limiter.set_override(name, rate, burst, quota)
        self.clients = {}
        self.anybody = None
        if self.keys.is_empty:
            self.anybody = Client("", None, self.limiter.find_client(""))
        self.generation += 1

    def reload(self):
        """Apply a change of the keys at once, and not at the next check."""
        self.keys.refresh(True)
        self.load()

    @property
    def is_open(self):
        """Whether there are no keys, so that clients are not identified."""
        self.look(lc_monotonic_ns())
        return self.anybody is not None

    cdef int look(self, int64_t now_ns) except -1:
        """Notice keys that were made or revoked. To be called once for what arrives together."""
        if now_ns - self.looked_at_ns < LOOK_INTERVAL_NS:
            return 0
        self.looked_at_ns = now_ns
        cdef object known = self.keys.generation
        self.keys.refresh()
        if self.keys.generation != known:
            self.load()
        return 0

    # -- who asks ---------------------------------------------------------------------------------

    def identify(self, token, scope, bint is_local=True):
        """Return the client of a token (None: there is none) that may do what `scope` allows.

        Without keys, whoever `is_local`, on this machine, may do everything, and nobody else.
        Raises the problems `unauthorized` and `forbidden`.
        """
        self.look(lc_monotonic_ns())
        cdef Client client = self.find_client(token, is_local)
        if client is None:
            detail = "The request has no API key." if token is None else "The API key is not known."
            challenge = REALM if token is None else f'{REALM}, error="invalid_token"'
            raise Problem(UNAUTHORIZED, detail, headers={"www-authenticate": challenge})
        if client.scope < scope:
            name = scope.name.lower()
            challenge = f'{REALM}, error="insufficient_scope", scope="{name}"'
            raise Problem(
                FORBIDDEN,
                f"This needs an API key with the scope {name}.",
                headers={"www-authenticate": challenge},
            )
        return client

    cdef Client find(self, lc_text token, bint is_local):
        """Return the client of a token, None where the ordinary way has to say what is wrong."""
        text = token.start[:token.length].decode() if token.length > 0 else None
        try:
            return self.find_client(text, is_local)
        except Problem:
            return None

    cdef Client find_client(self, token, bint is_local):
        if self.anybody is not None:
            return self.anybody if is_local else None
        credential = None if token is None else self.keys.authenticate(token)
        if credential is None:
            return None
        cdef Client client = self.clients.get(credential.id)
        if client is None:
            try:
                limit = self.limiter.find_client(credential.client)
            except TooManyClients:
                raise Problem(QUEUE_FULL, "There are too many clients; try again later.") from None
            client = self.clients[credential.id] = Client(credential.client, credential, limit)
        return client

    def verify(self, Client client not None, str method, str target, bytes body, header):
        """Raise the problem `unauthorized` where a client that signs has not signed this."""
        if client.is_signed:
            self.signatures.check(
                client.credential.secret, client.name, method, target, body, header
            )

    # -- how much ---------------------------------------------------------------------------------

    cdef int judge(
        self, Client client, int64_t now_ns, uint32_t count, int64_t amount
    ) except -1:
        """Charge a request of `count` transfers of `amount` together, or nothing; says which.

        ADMITTED has charged it. QUOTA_EXCEEDED is no refusal yet: what is new is refused, once its
        keys are looked up, and who asks again with an amount of 0 is charged for that look. All
        else is a refusal: NO_ROOM, or the verdict of limiter.pyx.
        """
        if self.in_flight.is_full():
            return NO_ROOM
        cdef int verdict = self.limiter.admit(client.limit, now_ns, count, amount)
        if verdict == QUOTA_EXCEEDED and self.is_look_up_full():
            return NO_ROOM
        return verdict

    def admit(self, Client client not None, uint32_t count, amount):
        """Admit a request of `count` transfers of `amount` together, and return its Charge.

        None: the client's quota does not reach. What is new of it is to be refused, once its keys
        are looked up: for that look it was charged now, and no money. Raises the problems
        `overloaded` and `quota-exceeded`, and then has charged nothing.
        """
        cdef int64_t now_ns = lc_monotonic_ns()
        cdef int64_t money = min(amount, INT64_MAX)
        cdef int verdict = self.judge(client, now_ns, count, money)
        cdef bint is_look_up = verdict == QUOTA_EXCEEDED
        if is_look_up:
            verdict = self.judge(client, now_ns, count, 0)
        if verdict != ADMITTED:
            raise self.make_problem(client, now_ns, verdict, count)
        return None if is_look_up else self.make_charge(client, money, now_ns)

    def admit_all(self, Client client not None, Submission submission not None):
        """Do as `admit` for all transfers of a submission; a key that comes twice pays twice here,
        until what has not moved is given back."""
        cdef uint32_t row, count = len(submission)
        cdef int64_t total = 0, amount
        for row in range(count if client.limit.quota > 0 else 0):
            amount = submission.data.records[row].amount
            total = INT64_MAX if total > INT64_MAX - amount else total + amount
        return self.admit(client, count, total)

    def charge_new(self, Client client not None, Submission submission not None):
        """Charge the money of what is new in a submission that was admitted to be looked up, each
        key once, and return the Charge; None where the quota does not reach for that either."""
        cdef int64_t now_ns = lc_monotonic_ns()
        cdef int64_t total = submission.sum_late()
        if self.limiter.admit(client.limit, now_ns, 0, total) != ADMITTED:
            return None
        return self.make_charge(client, total, now_ns)

    def charge_request(self, Client client not None):
        """Charge a request that moves no money: a read, a change of settings, an invalid one.

        Raises the problem `quota-exceeded`.
        """
        cdef int64_t now_ns = lc_monotonic_ns()
        cdef int verdict = self.limiter.admit(client.limit, now_ns, 1, 0)
        if verdict != ADMITTED:
            raise self.make_problem(client, now_ns, verdict, 1)

    cdef Charge make_charge(self, Client client, int64_t amount, int64_t charged_ns):
        # Without a quota no money was charged, and none is to be given back to one that comes.
        return Charge(self.limiter, client, amount if client.limit.quota > 0 else 0, charged_ns)

    cdef object make_problem(self, Client client, int64_t now_ns, int verdict, uint32_t count):
        """Return the problem of a request that was refused."""
        if verdict == NO_ROOM:
            return self.in_flight.refuse()
        return make_limit_problem(self.limiter.describe(client.limit, now_ns, verdict, count))

    cdef tuple encode_refusal(self, Client client, int64_t now_ns, int verdict):
        """Return the whole answer to one transfer that was refused, and the kind of its problem."""
        if verdict == NO_ROOM:
            return self.in_flight.encode_refusal(), OVERLOADED
        state = self.limiter.describe(client.limit, now_ns, verdict, 1)
        answer = self.answers.get(state)
        if answer is None:
            # The same few states come back for as long as somebody asks for too much.
            if len(self.answers) >= ANSWERS_MAX:
                self.answers.clear()
            answer = self.answers[state] = encode_error(make_limit_problem(state))[0]
        return answer, LIMITED

    def make_money_problem(self, Client client not None, int64_t amount):
        """Return the problem of a new transfer, or of several, for which money did not reach."""
        if 0 < client.limit.quota < amount:
            detail = f"{ABOVE_QUOTA.title}, which is {client.limit.quota}. {NOT_STORED}."
            return Problem(ABOVE_QUOTA, detail)
        return make_limit_problem(
            self.limiter.describe(client.limit, lc_monotonic_ns(), QUOTA_EXCEEDED, 1, amount)
        )

    cdef int refund_unmoved_row(
        self, Client client, Submission submission, uint32_t row, int64_t charged_ns
    ) noexcept:
        """Give back the money of a row that has completed and not moved by this request."""
        if has_moved(submission, row):
            return 0
        return self.refund_row(client, submission, row, charged_ns)

    cdef int refund_row(
        self, Client client, Submission submission, uint32_t row, int64_t charged_ns
    ) noexcept:
        """Give back the money of a row, if the window in which it was charged is not over."""
        if client.limit.quota > 0:
            self.limiter.refund_quota(
                client.limit, submission.data.records[row].amount, charged_ns
            )
        return 0

    # -- how long ---------------------------------------------------------------------------------

    cdef int64_t find_deadline(self, int64_t now_ns, uint32_t timeout_ms) noexcept:
        """The time by which the kernel has to have a request; 0 for any. The shorter limit counts.
        """
        cdef int64_t own_ns = timeout_ms * <int64_t> NS_PER_MS
        if self.deadline_ns > 0 and (own_ns == 0 or self.deadline_ns < own_ns):
            own_ns = self.deadline_ns
        return now_ns + own_ns if own_ns > 0 else 0

    def deadline(self, uint32_t timeout_ms=0):
        """Return the deadline of a request that is here now, and gives itself so long (0: any)."""
        return self.find_deadline(lc_monotonic_ns(), timeout_ms)


cdef inline bint has_moved(Submission submission, uint32_t row) noexcept:
    """Whether a row that has completed was applied, and by this request."""
    cdef lc_outcome* outcome = &submission.data.outcomes[row]
    return outcome.status == LC_APPLIED and not outcome.replayed
