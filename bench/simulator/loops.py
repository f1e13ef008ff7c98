"""When clients send requests: the closed loop, where each waits for its answer, and the open loop.

This module owns when an intent begins and which client has it. In the open loop it comes when the
schedule says so, whatever the server does, and its latency counts from then: a server that stands
still cannot slow the questions down and so hide how long they had to wait (what G. Tene calls
coordinated omission). How a client asks is not known here.
"""

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence

from ..load.alarm import Alarm
from .clients import CLOCK, Client, Crew
from .patterns import Floats
from .samples import PROMPT


class Loop(ABC):
    """What both loops have: clients, an end, and the moment when it is reached."""

    def __init__(self, crew: Crew, clients: Sequence[Client], started_s: float) -> None:
        self._crew = crew
        self._clients = clients
        self._started_s = started_s
        self._counts = crew.progress.counts
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        crew.release = self.take_free

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether nothing is offered any more."""

    @abstractmethod
    def take_free(self, client: Client) -> None:
        """Take back a client that has come to the end of an intent."""

    def tick(self, now_s: float) -> None:
        """Give up tries that have taken too long, and offer what is due by now.

        The first tick begins the run, and the others follow a few times a second.
        """
        for client in self._clients:
            if client.try_ends_s < now_s:
                client.give_up_try()

    def stop(self) -> None:
        """Offer nothing more, and let what is under way end without further tries."""
        self._crew.is_stopping = True

    def close(self) -> None:
        """Give up whatever is still under way."""
        self.stop()
        for client in self._clients:
            client.abandon()

    def _end_if_over(self) -> bool:
        """Tell whether nothing is offered any more; the loop is done when nobody is busy either."""
        is_over = self.is_over
        if is_over and not self.done.done() and not any(each.is_busy for each in self._clients):
            self.done.set_result(None)
        return is_over


class ClosedLoop(Loop):
    """Each client asks, waits for the answer, thinks, and asks again.

    The pattern says how many of the clients are active. The others wait until it is their turn.
    """

    def __init__(
        self, crew: Crew, clients: Sequence[Client], started_s: float, transfers: int
    ) -> None:
        super().__init__(crew, clients, started_s)
        self._transfers = transfers
        self._pattern = crew.plan.shape
        self._is_timed = crew.plan.seconds is not None
        self._offering_s = crew.plan.offering_s
        self._think_s = crew.plan.think_ms / 1000
        self._active = 0
        self._busy = 0
        """Clients that ask, rest or think. All others are parked."""
        self._parked = deque(clients)

    @property
    def is_over(self) -> bool:
        """Whether all intents were offered, or the time is up."""
        return (
            self._crew.is_stopping
            or self._counts.offered >= self._transfers
            or CLOCK() >= self._started_s + self._offering_s
        )

    def take_free(self, client: Client) -> None:
        """Let the client rest and think, and ask again."""
        self._busy -= 1
        if self._end_if_over():
            return
        wait_s = client.rest_s()
        if self._think_s:
            wait_s += self._crew.random.expovariate(1 / self._think_s)
        if self._busy >= self._active:
            self._parked.append(client)
        elif wait_s:
            self._busy += 1
            asyncio.get_running_loop().call_later(wait_s, self._ask_after_rest, client)
        else:
            self._ask(client)

    def tick(self, now_s: float) -> None:
        """Wake as many clients as the pattern asks for by now."""
        super().tick(now_s)
        if self._end_if_over():
            return
        if self._is_timed:
            progress = (now_s - self._started_s) / self._offering_s
        else:
            progress = self._counts.offered / max(self._transfers, 1)
        share = self._pattern.factor(progress) / self._pattern.peak
        self._active = max(round(share * len(self._clients)), 1)
        while self._parked and self._busy < self._active and not self.is_over:
            self._ask(self._parked.popleft())

    def _ask(self, client: Client) -> None:
        self._busy += 1
        self._counts.offered += 1
        client.start(CLOCK())

    def _ask_after_rest(self, client: Client) -> None:
        self._busy -= 1
        if not self._end_if_over():
            self._ask(client)


class OpenLoop(Loop):
    """Intents arrive by a schedule. Those that find no free client wait, in a queue with a bound.

    What finds no room in it is dropped, and so is what waits longer than the deadline of an intent.
    """

    def __init__(
        self, crew: Crew, clients: Sequence[Client], started_s: float, arrivals: Floats
    ) -> None:
        super().__init__(crew, clients, started_s)
        self._arrivals: list[float] = arrivals.tolist()
        self._next = 0
        self._free = deque(clients)
        self._queue: deque[float] = deque()
        self._queue_max = max(crew.plan.queue_max // crew.plan.processes, 1)
        self._alarm = Alarm(self._arrive)

    @property
    def is_over(self) -> bool:
        """Whether every arrival has come."""
        return self._crew.is_stopping or self._next >= len(self._arrivals)

    def take_free(self, client: Client) -> None:
        """Let the client take what has waited longest, or wait itself."""
        if self._queue and not self._crew.is_stopping:
            client.start(self._queue.popleft())
        else:
            self._free.append(client)
            self._end_if_over()

    def tick(self, now_s: float) -> None:
        """Drop what has waited too long, and take what is due."""
        super().tick(now_s)
        oldest_s = now_s - self._crew.plan.deadline_s
        while self._queue and self._queue[0] < oldest_s:
            self._drop(self._queue.popleft())
        self._arrive()

    def stop(self) -> None:
        """Forget the arrivals that have not come, and drop those that wait."""
        super().stop()
        while self._queue:
            self._drop(self._queue.popleft())

    def close(self) -> None:
        """Give up whatever is still under way, and the timer."""
        super().close()
        self._alarm.close()

    def _arrive(self) -> None:
        """Take every arrival that is due, and set the alarm for the next one."""
        now_s = CLOCK()
        while not self.is_over:
            due_s = self._started_s + self._arrivals[self._next]
            if due_s > now_s:
                self._alarm.set(due_s)
                break
            self._next += 1
            self._offer(due_s)
        self._end_if_over()

    def _offer(self, due_s: float) -> None:
        self._counts.offered += 1
        if self._free:
            self._free.popleft().start(due_s, PROMPT)
        elif len(self._queue) < self._queue_max:
            self._queue.append(due_s)
        else:
            self._drop(due_s)

    def _drop(self, due_s: float) -> None:
        self._counts.dropped += 1
        self._crew.recorder.record_drop(due_s)
