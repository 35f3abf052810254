"""`Threads`: where sync steps run.

Daemon threads of our own: a program that ends must end, whatever a step waits for; and steps that fill them all keep
neither records from being written nor async steps from running.

How a call ended is caught in the thread and told as a value: an exception that is carried to a loop which has ended, or a
``StopIteration`` that is raised in a coroutine, would be something else.
"""

from __future__ import annotations

import contextvars
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import Any, Final, Protocol

import anyio

from allframe.loops import running_loop, soon

__all__ = ["Job", "Threads"]

#: So many sync steps of one orchestrator run at once; others wait, and their time has not begun.
MOST: Final = 500
#: A thread that had nothing to do for so many seconds ends.
IDLE: Final = 10.0


class Droppable(Protocol):
    """Something that waits for a thread."""

    def drop(self) -> None:
        """Ask the thread to end, and wait no longer."""
        ...


class Job:
    """One call on a thread."""

    def __init__(self, call: Callable[[], Any], let_go: Callable[[], None]) -> None:
        self._call = call
        self._let_go = let_go
        self._loop = running_loop()
        self._context = contextvars.copy_context()
        #: Set, on the loop, when the call has ended.
        self.done = anyio.Event()
        self.value: Any = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Make the call; on the thread."""
        try:
            self.value = self._context.run(self._call)
        except BaseException as error:  # noqa: BLE001 - told as a value
            self.error = error

    def tell(self) -> None:
        """Have the loop hear that it ended; on the thread."""
        # Before anybody hears of the end: who does may close the store, and open it again.
        self._let_go()
        soon(self._loop, self.done.set)


class Threads:
    """Runs calls on daemon threads, of which those that are idle are used again.

    ``hold``: called for each job; what it returns is called when the job ended.
    """

    def __init__(self, hold: Callable[[], Callable[[], None]], most: int = MOST) -> None:
        self._hold = hold
        self.limiter = anyio.CapacityLimiter(most)
        self._lock = threading.Lock()
        self._idle: deque[SimpleQueue[Job | None]] = deque()
        self._closed = False
        self._waiting: set[Droppable] = set()

    @contextmanager
    def waited_for(self, attempt: Droppable) -> Iterator[None]:
        """Within it, ``attempt`` waits for its thread, until `drop`."""
        self._waiting.add(attempt)
        try:
            yield
        finally:
            self._waiting.discard(attempt)

    def drop(self) -> None:
        """Let nobody wait any more for a thread that cannot be cut."""
        for attempt in list(self._waiting):
            attempt.drop()

    def start(self, call: Callable[[], Any]) -> Job:
        """Begin ``call()`` on a thread, in a copy of the context of this task.

        Raises:
            RuntimeError: the machine has no thread to give. The call was not made.
        """
        let_go = self._hold()
        job = Job(call, let_go)
        with self._lock:
            queue = self._idle.pop() if self._idle else None
        if queue is not None:
            queue.put(job)
            return job
        try:
            threading.Thread(target=self._work, args=(job,), name="allframe step", daemon=True).start()
        except BaseException:
            let_go()
            raise
        return job

    def close(self) -> None:
        """End the threads that are idle; the others end after their call."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, deque()
        for queue in idle:
            queue.put(None)

    def _work(self, job: Job | None) -> None:
        queue: SimpleQueue[Job | None] = SimpleQueue()
        while job is not None:
            job.run()
            # Idle before anybody hears of the end: who does may begin the next call at once.
            is_over = not self._rest(queue)
            job.tell()
            job = None  # what it returned must not be kept until the next one
            if is_over:
                return
            job = self._next(queue)

    def _rest(self, queue: SimpleQueue[Job | None]) -> bool:
        """Be idle, and get the next call by ``queue``; False if there is to be none."""
        with self._lock:
            if not self._closed:
                self._idle.append(queue)
            return not self._closed

    def _next(self, queue: SimpleQueue[Job | None]) -> Job | None:
        try:
            return queue.get(timeout=IDLE)
        except Empty:
            with self._lock:
                if queue in self._idle:
                    self._idle.remove(queue)
                    return None
            return queue.get()  # somebody took it from among the idle just now
