"""Many threads in one limiter: never more than the rates allow, and no charge that is lost."""

import threading

from ledgercore.service.admission.limiter import ClientLimit, Limiter, Verdict

NS = 1_000_000_000
AMOUNT_MAX = (1 << 63) - 1


def read_quota(limiter: Limiter, client: ClientLimit) -> int:
    state = limiter.describe(client, None, Verdict.QUOTA_EXCEEDED)
    assert state is not None
    return state.remaining


def test_threads_together_never_get_more() -> None:
    now_ns = 1000 * NS
    limiter = Limiter(1000, 0, 2000, 100, 9000, clock_ns=lambda: now_ns)
    clients = [limiter.find_client(name) for name in "abcd"]
    start_ns, attempts, step_ns = now_ns, 100_000, 50_000
    admitted: dict[int, int] = {}
    start = threading.Barrier(8)

    def hammer(number: int) -> None:
        start.wait()
        client = clients[number % 4]
        admitted[number] = limiter.admit_many(client, attempts, start_ns, step_ns)

    threads = [threading.Thread(target=hammer, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    passed_s = attempts * step_ns / NS
    assert 100 < sum(admitted.values()) <= 2000 * passed_s + 100
    for number, client in enumerate(clients):
        taken = admitted[number] + admitted[number + 4]
        assert taken <= 1000 * passed_s + 1000
        now_ns = start_ns + int(passed_s * NS)
        assert read_quota(limiter, client) == 9000 - taken


def test_no_charge_of_any_thread_is_lost() -> None:
    # Here every request is admitted, so that each meets another in the middle of its own.
    limiter = Limiter(client_rate=1e9, global_rate=1e9, quota=AMOUNT_MAX, clock_ns=lambda: NS)
    client, start = limiter.find_client("a"), threading.Barrier(8)
    attempts = 500_000

    def hammer() -> None:
        start.wait()
        assert limiter.admit_many(client, attempts, NS, 0) == attempts

    threads = [threading.Thread(target=hammer) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_quota(limiter, client) == AMOUNT_MAX - 8 * attempts
    state = limiter.describe(client)
    assert state is not None and state.remaining == 10**9 - 8 * attempts
