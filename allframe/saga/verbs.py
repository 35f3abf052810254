"""`Verbs`: what somebody asks of a saga that exists, whether it runs here, waits for its turn, or only lies in the store.

A verb finds the saga, or loads it, and holds it in hand until it is through; all of that in a task of our own, so that a
caller who goes away leaves nothing half done. It is exactly one record, decided under the saga's lock. What may be asked
when is said in `allframe.saga.orders`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.lowlevel

from allframe.clock import to_microseconds
from allframe.errors import OperationRefused, PayloadError, SagaNotFound
from allframe.saga.clerk import prepare, refused_for
from allframe.saga.engine import persist
from allframe.saga.forecast import Receipt, receipt_of
from allframe.saga.handle import Entry
from allframe.saga.orders import PARTICIPLES, Moved, Order, check
from allframe.saga.records import SagaRecovered
from allframe.saga.recovery import CannotLoad
from allframe.saga.states import RUNNING, Move

if TYPE_CHECKING:
    from allframe.saga.registry import Registry

__all__ = ["Verbs"]


class Verbs:
    """The verbs on the sagas of one registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def ask(self, saga_id: str, order: Order) -> Receipt:
        """Have it written down, and begin what follows. It returns when the record is safe.

        Raises:
            SagaNotFound: there is none with this id.
            OperationRefused: it cannot be asked of a saga that stands where this one does.
            PayloadError: the output that was given is not what the step returns.
            OrchestratorClosed: if we are leaving.
        """
        return await self._registry.run(saga_id, self._ask, saga_id, order)

    async def _ask(self, saga_id: str, order: Order) -> Receipt:
        try:
            entry, recovered = await self._hold(saga_id, order)
            if entry.running is None:
                return await self._write_down(entry, order)
            return await self.tell(entry, order, recovered, held=True)
        except Moved as moved:
            raise await refused_for(moved, self._registry.monitor, saga_id, order) from None

    async def tell(
        self, entry: Entry, order: Order, recovered: SagaRecovered | None = None, *, held: bool = False
    ) -> Receipt:
        """Ask something of a saga in hand. ``held``: the caller holds it, and lets it go with this.

        ``recovered``: the record of taking it over, if that was not written yet.
        """
        running = entry.running
        assert running is not None
        entry.holds += not held
        before = running.execution.status
        try:
            try:
                recorded, moves = await running.obey(order, recovered)
            except (Moved, OperationRefused, PayloadError):
                if recovered is not None and running.execution.goes_on_when_loaded:
                    self._go_on(entry, await running.go_on(recovered))
                raise
            finally:
                entry.found.set()
            receipt = receipt_of(order, entry.id, running.execution, recorded, before, running.graph.plan)
            self._go_on(entry, moves)
            return receipt
        finally:
            entry.holds -= 1
            if running.execution.status not in RUNNING:
                self._registry.ended(running)

    def _go_on(self, entry: Entry, moves: list[Move]) -> None:
        """Perform what a verb led to. It does not wait for its turn: somebody does."""
        if moves:
            assert entry.running is not None
            if not entry.holds_slot:
                self._registry.turns.take(entry)
            self._registry.spawn(entry.id, entry.running.follow, moves)

    async def _hold(self, saga_id: str, order: Order) -> tuple[Entry, SagaRecovered | None]:
        """The saga in hand and held; and the record of taking it over, if that is still to be written.

        It is not loaded if it is only to be abandoned: that needs no class, and must not begin anything first.
        """
        while True:
            self._registry.check_open(saga_id)
            entry = self._registry.entries.get(saga_id)
            if entry is None:
                stored = await self._registry.monitor.read(saga_id)
                if saga_id in self._registry.entries:
                    continue
                if stored is None:
                    raise SagaNotFound(
                        f"The store holds no saga {saga_id!r}, so none can be {PARTICIPLES[order.verb]}.",
                        saga_id=saga_id,
                    )
                check(order, saga_id, stored.execution)
                entry = self._registry.entries[saga_id] = Entry(saga_id)
                return entry, await self._load_for(entry, order, has_turn=self._registry.will_recover(stored))
            if entry.waiting and entry.running is None:
                entry.waiting = False  # it was to wait for its turn, and now somebody waits for it
                return entry, await self._load_for(entry, order, has_turn=True)
            await entry.found.wait()
            if self._registry.entries.get(saga_id) is entry and entry.running is not None:
                entry.holds += 1
                return entry, None
            await anyio.lowlevel.checkpoint()

    async def _load_for(self, entry: Entry, order: Order, *, has_turn: bool) -> SagaRecovered | None:
        """Load the saga for a verb, and hold it. ``has_turn``: it is to be taken over, and still waits for that."""
        if order.verb == "abandon":
            return None
        try:
            recovered = await self._registry.load(entry)
        except CannotLoad as why:
            if has_turn:
                self._registry.turns.enqueue(entry)  # recovery has passed it: when its turn comes, it is blocked
            else:
                self._registry.give_up(entry, why)
            raise OperationRefused(
                f"Saga {entry.id!r} cannot be {PARTICIPLES[order.verb]}, for it cannot be loaded: {why} Possible now: "
                "abandon.",
                saga_id=entry.id,
            ) from why
        except BaseException as error:
            self._registry.give_up(entry, error)
            raise
        entry.holds += 1
        return recovered

    async def _write_down(self, entry: Entry, order: Order) -> Receipt:
        """Record an order on a saga that is not loaded, and that nothing follows from here."""
        registry = self._registry
        goes_on = False
        try:
            stored = await registry.monitor.read(entry.id)
            assert stored is not None
            goes_on = stored.execution.status in RUNNING
            commit, receipt = prepare(entry.id, stored, order, to_microseconds(registry.clock.now()))
            goes_on = False
            if commit is not None:
                await persist(registry, commit, entry.id, stored.started.saga)
            return receipt
        finally:
            if goes_on:
                registry.turns.enqueue(entry)  # it was refused: the saga has its turn after all
            else:
                registry.let_go(entry)
