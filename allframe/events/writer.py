"""`Worker`: a thread that does one thing after another for many tasks. `Writer`: one that writes for them, together.

Tasks hand items in and wait. The writer takes all that wait, writes them in one go, and wakes their tasks with one call
to each event loop. While it writes, the next ones gather: under load the price of a write is shared by all of them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

import anyio

from allframe.clock import waiting_for_thread
from allframe.errors import StoreUnavailable
from allframe.loops import Bells, Signal, running_loop

__all__ = ["Worker", "Writer"]

#: The most items that are written in one go.
LARGEST_BATCH = 512

I = TypeVar("I")  # noqa: E741 - item
R = TypeVar("R")
T = TypeVar("T")


class _Ticket:
    """Something handed in: an item to be written with others, or a call to be made alone."""

    __slots__ = ("call", "done", "error", "item", "loop", "result")

    def __init__(self, item: Any, call: Callable[[], Any] | None) -> None:
        self.item = item
        self.call = call
        self.loop = running_loop()
        self.done = Signal(self.loop)
        self.result: Any = None
        self.error: BaseException | None = None

    def outcome(self) -> Any:
        if self.error is not None:
            raise self.error
        return self.result


class Worker:
    """Makes calls on a thread of its own, in the order in which they are handed in.

    Raises:
        StoreUnavailable: from whatever hands something in, after `stop` was called; ``what`` names it there.
    """

    def __init__(self, name: str, what: str = "The store") -> None:
        self._what = what
        self._queue: SimpleQueue[_Ticket | None] = SimpleQueue()
        # What is handed in after the end would be waited for without an end; loops of several threads may hand in.
        self._door = threading.Lock()
        self._is_stopped = False
        self._bells = Bells()
        # A daemon: a program that ends without closing must end. What it was acknowledged is on disk.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End the thread after what was handed in is done. Blocks; what is handed in afterwards is refused."""
        with self._door:
            self._is_stopped = True
            self._queue.put(None)
        self._thread.join()

    def leave(self) -> None:
        """After `stop`, on an event loop: give back what the loops were woken by."""
        self._bells.take_down()

    async def call(self, function: Callable[[], T]) -> T:
        """What ``function`` returns on the thread, alone, after what was handed in before it. The wait is shielded."""
        ticket = self._hand_in(_Ticket(None, function))
        with waiting_for_thread, anyio.CancelScope(shield=True):
            await ticket.done.wait()
        result: T = ticket.outcome()
        return result

    async def ask(self, function: Callable[[], T]) -> T:
        """As `call`, for what changes nothing: who is cancelled does not wait for the answer."""
        ticket = self._hand_in(_Ticket(None, function))
        with waiting_for_thread:
            await ticket.done.wait()
        result: T = ticket.outcome()
        return result

    def _hand_in(self, ticket: _Ticket) -> _Ticket:
        with self._door:
            if self._is_stopped:
                raise StoreUnavailable(f"{self._what} is not open: it was closed meanwhile. Open it again to use it.")
            self._bells.hang(ticket.loop)
            self._queue.put(ticket)
        return ticket

    def _run(self) -> None:
        while (ticket := self._queue.get()) is not None:
            self._make(ticket)

    def _make(self, ticket: _Ticket) -> None:
        assert ticket.call is not None
        try:
            ticket.result = ticket.call()
        except BaseException as error:  # noqa: BLE001 - it is the task's that waits
            ticket.error = error
        self._wake([ticket])

    def _wake(self, tickets: list[_Ticket]) -> None:
        loops: dict[Any, list[_Ticket]] = {}
        for ticket in tickets:
            loops.setdefault(ticket.loop, []).append(ticket)
        for loop, waiting in loops.items():
            self._bells.soon(loop, _settle, waiting)


class Writer(Worker, Generic[I, R]):
    """``write`` is given items, oldest first, and answers each with its result or the exception it is to raise."""

    def __init__(
        self, name: str, write: Callable[[list[I]], Sequence[R | BaseException]], what: str = "The store"
    ) -> None:
        super().__init__(name, what)
        self._write = write

    async def write(self, item: I) -> R:
        """Have ``item`` written. It is handed in before the first await: a cancelled wait does not take it back."""
        ticket = self._hand_in(_Ticket(item, None))
        with waiting_for_thread:
            await ticket.done.wait()
        result: R = ticket.outcome()
        return result

    def _run(self) -> None:
        tickets: list[_Ticket] = []
        following: _Ticket | None = None
        while True:
            first = following or self._queue.get()
            following = None
            if first is None:
                return
            if first.call is not None:
                self._make(first)
                continue
            tickets, following, is_last = self._gather(first)
            self._write_all(tickets)
            self._wake(tickets)
            tickets.clear()
            if is_last:
                return

    def _gather(self, first: _Ticket) -> tuple[list[_Ticket], _Ticket | None, bool]:
        """All the items that wait; the call that comes after them, if there is one; whether the end does."""
        tickets = [first]
        while len(tickets) < LARGEST_BATCH and not self._queue.empty():  # nobody else takes from it
            ticket = self._queue.get_nowait()
            if ticket is None:
                return tickets, None, True
            if ticket.call is not None:
                return tickets, ticket, False
            tickets.append(ticket)
        return tickets, None, False

    def _write_all(self, tickets: list[_Ticket]) -> None:
        try:
            answers = self._write([ticket.item for ticket in tickets])
            for ticket, answer in zip(tickets, answers, strict=True):
                if isinstance(answer, BaseException):
                    ticket.error = answer
                else:
                    ticket.result = answer
        except BaseException as error:  # noqa: BLE001 - the tasks that wait must hear of it, and the thread go on
            for ticket in tickets:
                ticket.error = error


def _settle(tickets: list[_Ticket]) -> None:
    for ticket in tickets:
        ticket.done.give()
