"""`Runner`: one projection, followed on its own: it catches up, goes live, fails alone, and is rebuilt beside itself."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

import anyio

from allframe.clock import Clock
from allframe.cqrs.folding import Fold
from allframe.cqrs.projection import AnyProjection
from allframe.cqrs.standing import Poisoned, ProjectionMetadata, ProjectionState, describe
from allframe.errors import ErrorInfo, ProjectionFailed, ProjectionRefused, StoreInUse, StoreUnavailable
from allframe.events.feed import Feed

__all__ = ["Progress", "Runner"]

logger = logging.getLogger("allframe")

#: Called with the position that a rebuild has come to, and the one that it must come to.
Progress: TypeAlias = Callable[[int, int], None]

#: Seconds before a database that could not be used is tried again: the first time, and at most.
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0


class Runner:
    """One projection under ``name``. ``fold`` is what is served."""

    def __init__(self, name: str, fold: Fold, feed: Feed, clock: Clock) -> None:
        self.name = name
        self.state = ProjectionState.STOPPED
        #: What everybody can read by now.
        self.position = 0
        self.error: ErrorInfo | None = None
        self.rebuilding = False
        self._fold, self._feed, self._clock = fold, feed, clock
        self._updated_at: datetime | None = None
        self._failure: ProjectionFailed | None = None
        self._changed = anyio.Event()
        # Set once there is something to read, or it is known that there is not.
        self._ready = anyio.Event()
        # Whoever has it may move the fold on, or put another in its place.
        self._moving = anyio.Lock()

    @property
    def projection(self) -> AnyProjection:
        return self._fold.projection

    @property
    def fold(self) -> Fold:
        return self._fold

    def metadata(self, end: int) -> ProjectionMetadata:
        """Where it stands. ``end``: the store's last position."""
        return ProjectionMetadata(
            name=self.name,
            position=self.position,
            updated_at=self._updated_at,
            rebuilding=self.rebuilding,
            lag=max(0, end - self.position),
            state=self.state,
            error=self.error,
        )

    # --- following the events

    def announce(self) -> None:
        """Say that `run` is about to be called."""
        self.error, self._failure, self._ready = None, None, anyio.Event()
        self._set(ProjectionState.CATCHING_UP)

    async def ready(self) -> None:
        """Return when it has something that can be read, or has come to know why it has not."""
        await self._ready.wait()

    async def run(self) -> None:
        """Follow the events until this is cancelled, or one of them fails: then it raises nothing, and `state` says so."""
        try:
            await self._follow()
        except Poisoned as poisoned:
            await self._fail(poisoned.row.position, poisoned.info, poisoned.error)
        except ProjectionFailed as failure:  # of the rebuild that it needed
            await self._fail(failure.position, failure.error, failure)
        except Exception as error:  # noqa: BLE001 - one projection's trouble is not its neighbours'
            await self._fail(self.position, describe(error), error)
        finally:
            with anyio.CancelScope(shield=True):
                await self._fold.close()
            self._end()

    async def _follow(self) -> None:
        wait, do = FIRST_WAIT, self._open
        while True:
            try:
                await do()
                wait, do, self.error = FIRST_WAIT, self._step, None
            except (StoreUnavailable, StoreInUse) as error:
                if self.error is None:
                    logger.warning("the projection %s waits, and tries again: %s", self.name, error)
                self.error = describe(error)
                self._ready.set()
                self._tell()
                await anyio.sleep(wait)
                # What lies there may be another file by then.
                wait, do = min(2 * wait, LONGEST_WAIT), self._open

    async def _open(self) -> None:
        why = await self._fold.open(self._feed)
        self._ready.set()
        if why is not None:
            logger.warning("the projection %s is rebuilt: %s", self.name, why)
            await self._rebuild(None)
        if self._fold.position < self.position:
            self._set(ProjectionState.CATCHING_UP)
        self.position = self._fold.position
        self._tell()

    async def _step(self) -> None:
        if self.state is not ProjectionState.LIVE and self.position >= await self._feed.last_position():
            self._set(ProjectionState.LIVE)
        page = await self._feed.following(self.position)
        try:
            async with self._moving:
                await self._fold.take_in(page)
        finally:
            self._moved()  # also if an event fails: what comes before it was taken in
        if page.is_last:
            self._set(ProjectionState.LIVE)

    async def _fail(self, position: int, info: ErrorInfo, error: Exception) -> None:
        self.error = info
        self._failure = _failure(self.name, position, info)
        self._failure.__cause__ = error
        logger.error("%s", self._failure, exc_info=error)
        await self._fold.fail(info)

    def _end(self) -> None:
        self._ready.set()
        self._set(ProjectionState.STOPPED if self._failure is None else ProjectionState.FAILED)

    def _moved(self) -> None:
        if self._fold.position != self.position or self._updated_at is None:
            self.position, self._updated_at = self._fold.position, self._clock.now()
        self._tell()

    def _set(self, state: ProjectionState) -> None:
        self.state = state
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, anyio.Event()
        changed.set()

    # --- waiting for it

    async def reached(self, position: int) -> None:
        """Return when everything up to ``position`` was taken in.

        Raises:
            ProjectionFailed: it stands before an event.
            ProjectionRefused: nobody runs it.
            StoreUnavailable: the store is closed.
        """
        while self.position < position:
            self._feed.check_open()
            if self.state is ProjectionState.FAILED and self._failure is not None:
                raise _failure(self.name, self._failure.position, self._failure.error) from self._failure.__cause__
            if self.state is ProjectionState.STOPPED:
                raise ProjectionRefused(
                    f"The projection {self.name!r} is at position {self.position} and is not followed now, so it will not come "
                    f"to {position}. Wait for it inside `async with registry:`."
                )
            await self._changed.wait()

    # --- rebuilding it

    async def rebuild(self, progress: Progress | None = None) -> None:
        """Build a successor from the first event on, and put it in the place of this one.

        Raises:
            ProjectionFailed: at an event that cannot be taken in; this one goes on as it was.
            ProjectionRefused: it is being rebuilt already.
        """
        try:
            await self._rebuild(progress)
        finally:
            if self.state not in (ProjectionState.CATCHING_UP, ProjectionState.LIVE):  # nobody else will
                with anyio.CancelScope(shield=True):
                    await self._fold.close()

    async def _rebuild(self, progress: Progress | None) -> None:
        if self.rebuilding:
            raise ProjectionRefused(f"The projection {self.name!r} is being rebuilt already. Wait for the end of that.")
        self.rebuilding = True
        try:
            built = await self._fold.begin()
            try:
                await self._build(built, progress)
                await self._succeed(built)
            except Poisoned as poisoned:
                raise _failure(self.name, poisoned.row.position, poisoned.info) from poisoned.error
            finally:
                if self._fold is not built:
                    with anyio.CancelScope(shield=True):
                        await built.close()
        finally:
            self.rebuilding = False
        self._moved()

    async def _build(self, built: Fold, progress: Progress | None) -> None:
        """Bring it near the end of the store: as long as it comes nearer, for others may append as fast as it reads."""
        left: int | None = None
        while True:
            goal = await self._feed.last_position()
            behind = goal - built.position
            if behind <= 0 or (left is not None and behind >= left):
                return
            left = behind
            await self._build_to(built, goal, progress)

    async def _build_to(self, built: Fold, goal: int, progress: Progress | None) -> None:
        while built.position < goal and (page := await self._feed.read(built.position)) is not None:
            await built.take_in(page)
            if progress is not None:
                progress(built.position, max(goal, built.position))

    async def _succeed(self, built: Fold) -> None:
        """While nobody moves the old one on: bring the new one at least as far, so that nobody reads what was before."""
        async with self._moving:
            position, release = await self._fold.hold()
            try:
                while built.position < position and (page := await self._feed.read(built.position)) is not None:
                    await built.take_in(page)
                self._fold = await self._fold.succeed(built)
            finally:
                release()


def _failure(name: str, position: int, info: ErrorInfo) -> ProjectionFailed:
    return ProjectionFailed(
        f"The projection {name!r} stopped: {info}. Everything before is in it, and nothing after. Mend it, and call "
        f"resume({name!r}) or start again.",
        projection=name,
        position=position,
        error=info,
    )
