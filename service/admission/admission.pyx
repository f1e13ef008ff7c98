"""Who may come in, and how much: the one admission of all requests, whoever read their bytes.

This module owns the order: who asks, whether that is allowed, whether it is within the limits; and
the deadline. The native way and the ordinary one call the same functions with the same few values.
It never reads a request. What a rate refuses has not reached the engine, and nothing is told of its
key; money refuses only what is new, so that there a look at the key comes first (lookups.py).

Times are of CLOCK_MONOTONIC, in nanoseconds, as those of the engine and the limits.
"""

from libc.stdint cimport INT64_MAX, int64_t, uint32_t

from ledgercore._c cimport *
from ledgercore.service._c cimport *
from ledgercore.submission cimport Submission
from ledgercore.service.admission.limiter cimport ADMITTED, QUOTA_EXCEEDED, ClientLimit, Limiter

from .limiter import TooManyClients
from ..access.key_ring import Scope
from .drain_rate import DrainMeter
from ..wire.errors import encode_error
from .limit_headers import make_limit_problem
from ..wire.problems import (
    ABOVE_QUOTA, FORBIDDEN, NOT_STORED, OVERLOADED, QUEUE_FULL, UNAUTHORIZED, Problem,
    make_busy_problem
)

cdef enum:
    LOOK_INTERVAL_NS = 100_000_000  # The ring looks at its file more seldom still.
    NS_PER_MS = 1_000_000
    REFUSALS_MAX = 256

REALM = 'Bearer realm="ledgercore"'


cdef class Client:
    """Who asks: a name, which is the scope of its idempotency keys, and what it may do."""

    def __init__(self, str name not None, credential, ClientLimit limit not None):
        """Make the client of a credential; of none, where the server asks nobody who they are."""
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


cdef class Room:
    """How many transfers are in flight, admitted and not yet answered, and how many may be.

    Used in the event loop only, where nothing comes between a look and what is done upon it.
    """

    def __init__(self, drain=None, int64_t limit=INT64_MAX):
        self.drain = DrainMeter() if drain is None else drain
        self.limit = limit
        self.replies = {}

    cdef bint is_full(self) noexcept:
        """Whether no transfer may come in. What came in as one request may be beyond the limit, or
        many transfers in one would be refused for ever."""
        return self.in_flight >= self.limit

    cpdef void take(self, int64_t count) noexcept:
        """Count transfers that were admitted."""
        self.in_flight += count
        if self.in_flight > self.peak:
            self.peak = self.in_flight

    def leave(self, int64_t count, int64_t now_ns):
        """Count transfers that were answered now."""
        self.in_flight -= count
        self.drain.add(count, now_ns)

    def give_back(self, int64_t count):
        """Count transfers that the engine has not taken: they are gone, and nothing was drained."""
        self.in_flight -= count

    def reset_peak(self):
        """Return the most that was in flight since the last call."""
        peak, self.peak = self.peak, self.in_flight
        return peak

    def check(self):
        """Raise the problem `overloaded` where no transfer may come in."""
        if self.is_full():
            self.refused += 1
            raise make_busy_problem(OVERLOADED, self.drain.find_wait_s(self.in_flight))

    cdef bytes refuse(self):
        """Return the whole answer to a request that `check` would refuse.

        Under overload it is made for most requests, and differs only by the seconds to wait.
        """
        self.refused += 1
        wait_s = self.drain.find_wait_s(self.in_flight)
        reply = self.replies.get(wait_s)
        if reply is None:
            reply = encode_error(make_busy_problem(OVERLOADED, wait_s))[0]
            self.replies[wait_s] = reply
        return reply


cdef class Admission:
    """The keys, the limits and the deadline of one server. Used in its event loop only."""

    def __init__(
        self, keys, signatures, Limiter limiter not None, int64_t deadline_ms=0, Room room=None
    ):
        self.room = Room() if room is None else room
        self.keys = keys
        self.signatures = signatures
        self.limiter = limiter
        self.deadline_ns = deadline_ms * NS_PER_MS
        self.refusals = {}
        self.overridden = set()
        self.generation = 0
        self.load()

    def load(self):
        """Take over what the ring of keys says now."""
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
        """Let a change of the keys hold at once, and not at the next look."""
        self.keys.refresh(True)
        self.load()

    @property
    def is_open(self):
        """Whether nobody is asked who they are, since there are no keys."""
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

    cdef int charge(
        self, Client client, int64_t now_ns, uint32_t count, int64_t amount
    ) noexcept:
        """Take requests and money off the client's limits; the verdict of limits.pyx."""
        return self.limiter.admit(client.limit, now_ns, count, amount)

    def take(self, Client client not None, uint32_t count, amount=0):
        """Do as `charge`; raises the problem `quota-exceeded`. Returns when it was charged.

        None: the client's money does not reach. The requests alone are charged then, for the look
        at their keys that is due before that is told.
        """
        cdef int64_t now_ns = lc_monotonic_ns()
        cdef int64_t money = min(amount, INT64_MAX)
        cdef int verdict = self.charge(client, now_ns, count, money)
        if verdict == QUOTA_EXCEEDED:
            self.take(client, count)
            return None
        if verdict != ADMITTED:
            raise make_limit_problem(self.limiter.describe(client.limit, now_ns, verdict, count))
        return now_ns

    cdef bytes refuse(self, Client client, int64_t now_ns, int verdict):
        """Return the whole answer to one request that is beyond a limit."""
        state = self.limiter.describe(client.limit, now_ns, verdict, 1)
        cdef bytes answer = self.refusals.get(state)
        if answer is None:
            # The same few states come back for as long as somebody asks for too much.
            if len(self.refusals) >= REFUSALS_MAX:
                self.refusals.clear()
            answer = self.refusals[state] = encode_error(make_limit_problem(state))[0]
        return answer

    def make_money_problem(self, Client client not None, int64_t amount):
        """Return the problem of a new transfer, or of several, for which money did not reach."""
        if 0 < client.limit.quota < amount:
            detail = f"{ABOVE_QUOTA.title}, which is {client.limit.quota}. {NOT_STORED}."
            return Problem(ABOVE_QUOTA, detail)
        return make_limit_problem(
            self.limiter.describe(client.limit, lc_monotonic_ns(), QUOTA_EXCEEDED, 1, amount)
        )

    cdef tuple refuse_money(self, Client client, int64_t amount):
        """Return the whole answer to such a transfer, and its kind."""
        return encode_error(self.make_money_problem(client, amount))

    cdef int refund(
        self, Client client, Submission submission, uint32_t row, int64_t charged_ns
    ) noexcept:
        """Give back the money of a row that has completed and not moved by this request."""
        cdef lc_outcome* outcome = &submission.data.outcomes[row]
        if outcome.status == LC_APPLIED and not outcome.replayed:
            return 0
        return self.give_back(client, submission, row, charged_ns)

    cdef int give_back(
        self, Client client, Submission submission, uint32_t row, int64_t charged_ns
    ) noexcept:
        """Give back the money of a row, if the window in which it was charged is not over."""
        if client.limit.quota > 0:
            self.limiter.give_back_quota(
                client.limit, submission.data.records[row].amount, charged_ns
            )
        return 0

    def take_all(self, Client client not None, Submission submission not None):
        """Do as `take` for all transfers of a submission; a key that comes twice pays twice here,
        until what has not moved is given back."""
        cdef uint32_t row, count = len(submission)
        cdef int64_t total = 0, amount
        for row in range(count if client.limit.quota > 0 else 0):
            amount = submission.data.records[row].amount
            total = INT64_MAX if total > INT64_MAX - amount else total + amount
        return self.take(client, count, total)

    def take_new(self, Client client not None, Submission submission not None):
        """Charge the money of what is late in a submission that was looked up, each key once.

        Returns (when, how much) it was charged; the first is None where it does not reach.
        """
        cdef int64_t now_ns = lc_monotonic_ns()
        cdef int64_t total = submission.sum_late()
        cdef bint is_taken = self.charge(client, now_ns, 0, total) == ADMITTED
        return now_ns if is_taken else None, total

    def give_back_money(
        self, Client client not None, Submission submission not None, int64_t charged_ns,
        index=None, charged=None
    ):
        """Give back all that was charged for one transfer, or for all, of what was not taken; for
        all together it was `charged`, or their amounts."""
        if charged is not None:
            self.limiter.give_back_quota(client.limit, charged, charged_ns)
            return
        cdef uint32_t row, first = 0 if index is None else index
        for row in range(first, len(submission) if index is None else first + 1):
            self.give_back(client, submission, row, charged_ns)

    def settle(
        self, Client client not None, Submission submission not None, int64_t charged_ns,
        index=None, charged=None
    ):
        """Give back what has not moved of one transfer, or of all, of a completed submission; for
        all together it was `charged`, or their amounts."""
        cdef uint32_t row, first = 0 if index is None else index
        if client.limit.quota == 0:
            return
        if charged is not None:
            self.limiter.give_back_quota(client.limit, charged - submission.sum_new(), charged_ns)
            return
        for row in range(first, len(submission) if index is None else first + 1):
            self.refund(client, submission, row, charged_ns)

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
