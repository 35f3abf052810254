"""`Operators`: the face of the verbs, what a person asks of a saga that exists."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from allframe.saga.orders import MISSING, Order, who
from allframe.saga.records import Outcome
from allframe.saga.registry import Registry

__all__ = ["Operators"]


class Operators(ABC):
    """Verbs on sagas. Each is one record, with who asked and why, and returns when it is safe.

    All of them take:

    Args:
        id: The saga's.
        reason: Why. It is stored, and shown with the saga.
        actor: Who asks; the account that this process runs under, if not given.
        expected_revision: `SagaMetadata.revision` as the decision was made on it. At any other the verb is refused, with
            what has happened since: so it is applied once, however often it is asked for.

    Raises:
        SagaNotFound: there is none with this id.
        OperationRefused: the saga stands where it cannot be asked for, or at another revision; the text tells what can.
        OrchestratorClosed: the orchestrator leaves, or was not entered.
        ValueError: the reason or the actor is empty.
    """

    async def cancel(
        self,
        id: str,  # noqa: A002 - the word of the whole API
        *,
        reason: str,
        actor: str | None = None,
        expected_revision: int | None = None,
    ) -> None:
        """Have a saga undone. It returns when that is recorded; the rollback follows.

        A running step is cut, unless it is the pivot, and counts as one that may have taken effect. A saga that is being
        cancelled already is left as it is.

        Raises:
            CancelRefused: it has passed its pivot, and only goes forward.
            SagaNotFound, OperationRefused: it is being undone already, or is over.
        """
        await self._ask(id, Order("cancel", reason, who(actor), expected_revision))

    async def retry_failed(
        self,
        id: str,  # noqa: A002
        *,
        reason: str,
        actor: str | None = None,
        expected_revision: int | None = None,
    ) -> None:
        """Try again, with fresh attempts, what a saga is stuck on: the rollback of a ``FAILED`` one; the step, or the
        loading, of a ``BLOCKED`` one. It returns when that is recorded.

        Raises:
            SagaNotFound, OperationRefused: it is neither, or what it waits for is still not there.
        """
        await self._ask(id, Order("retry", reason, who(actor), expected_revision))

    async def abandon(
        self,
        id: str,  # noqa: A002
        *,
        reason: str,
        actor: str | None = None,
        expected_revision: int | None = None,
    ) -> None:
        """Give a saga up as it stands, whatever it does. Running attempts are cut, and nothing more is written of it.

        What is, or may be, still in effect is in its record, and in the `SagaAbandoned` that tells of it.

        Raises:
            SagaNotFound, OperationRefused: it is over.
        """
        await self._ask(id, Order("abandon", reason, who(actor), expected_revision))

    async def skip(
        self,
        id: str,  # noqa: A002
        step: str,
        *,
        reason: str,
        actor: str | None = None,
        expected_revision: int | None = None,
    ) -> None:
        """Go on without a step. ``step`` is its stored name.

        In a ``FAILED`` saga: a step whose compensation is exhausted. It counts as undone, and what waited for it is
        undone. In a ``BLOCKED`` one: a step after the pivot whose output nobody takes. It counts as done.

        Raises:
            SagaNotFound, OperationRefused: the step is none of these.
        """
        await self._ask(id, Order("skip", reason, who(actor), expected_revision, step))

    async def resolve(
        self,
        id: str,  # noqa: A002
        step: str,
        outcome: Outcome,
        *,
        output: Any = MISSING,
        reason: str,
        actor: str | None = None,
        expected_revision: int | None = None,
    ) -> None:
        """Tell what was found out of a step that is unknown, or whose output is lost. ``step`` is its stored name.

        In a ``FAILED`` saga, ``"done"`` tries its compensation again, with ``output`` in place of the `Unknown`, and
        ``"not_done"`` leaves nothing to undo there. In a ``BLOCKED`` one, ``"done"`` goes forward with ``output``, and
        ``"not_done"`` rolls back what is before the pivot, or tries the step after it again.

        Raises:
            SagaNotFound, OperationRefused: the step is none of these, or needs an output that is not given.
            PayloadError: the output is not what the step returns.
        """
        order = Order("resolve", reason, who(actor), expected_revision, step, outcome, output)
        await self._ask(id, order)

    async def _ask(self, saga_id: str, order: Order) -> None:
        await self._open().verbs.ask(saga_id, order)

    @abstractmethod
    def _open(self, *, leaving_too: bool = False) -> Registry:
        """What it has while it is entered."""
