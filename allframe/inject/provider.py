"""`Provider`: the one look-up, in what was provided and then in a container."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from allframe.inject.annotation import type_name
from allframe.inject.container import Container
from allframe.inject.scope import Scope
from allframe.masking import shown

__all__ = ["Provider"]

#: So many names stand in an error's text.
_SHOWN = 30


class Provider:
    """Objects by the type under which they are asked for.

    ``provide`` is a plain look-up: no subclasses, no construction. What is not in it, ``container`` makes.
    """

    def __init__(self, provide: Mapping[Any, object] | None = None, container: Container | None = None) -> None:
        given: object = provide
        if given is not None and not isinstance(given, Mapping):
            raise TypeError(
                f"provide= takes a mapping from types to objects, such as {{Bank: bank}}, found {shown(given)}."
            )
        self._objects = dict(provide or {})
        self._container = container

    def __contains__(self, wanted: Any) -> bool:
        return self.holds(wanted) or self.makes(wanted)

    def holds(self, wanted: Any) -> bool:
        """Whether the object is there already."""
        return wanted in self._objects

    def makes(self, wanted: Any) -> bool:
        """Whether the container makes it, for each scope anew or once, as it was told to."""
        return not self.holds(wanted) and self._container is not None and self._container.lack(wanted) is None

    def get(self, wanted: Any) -> object:
        """The object that it holds for ``wanted``.

        Raises:
            KeyError: if there is none; callers look before they start anything.
        """
        return self._objects[wanted]

    def scope(self, context: dict[Any, object]) -> Scope:
        """A scope of the container, for what it makes."""
        assert self._container is not None
        return self._container.scope(context)

    def check_loop(self) -> None:
        """
        Raises:
            ValueError: if the container cannot be used on the event loop that runs.
        """
        if self._container is not None:
            self._container.check_loop()

    def missing(self, wanted: Mapping[Any, str]) -> str:
        """What of ``wanted`` (types, and the place that asks for each) it does not have, as text; empty if nothing."""
        return ", ".join(f"{kind} ({place})" for kind, place in self.lacking(wanted))

    def lacking(self, wanted: Mapping[Any, str]) -> Iterator[tuple[str, str]]:
        """The same one by one: the type; the place, with what the container knows about it."""
        return ((type_name(kind), place + self._why(kind)) for kind, place in wanted.items() if kind not in self)

    def names(self) -> str:
        """What it has, for an error's text."""
        held = _listed(self._objects) if self._objects or self._container is None else ""
        made = f"a container that makes {_listed(self._container.makes())}" if self._container is not None else ""
        return " and ".join(filter(None, (held, made)))

    def remedy(self, who: str = "orchestrator", called: str = "SagaOrchestrator") -> str:
        """What to do about a type that is missing, as a sentence. ``who`` takes it, and is ``called`` so in code."""
        if self._container is None:
            return f"Hand it to the {who}: {called}(..., provide={{...}})."
        return f"Add it to a provider of the container, or hand it in: {called}(..., provide={{...}})."

    def _why(self, wanted: Any) -> str:
        lack = None if self._container is None else self._container.lack(wanted)
        return f": in the container it {lack}" if lack else ""


def _listed(kinds: Iterable[Any]) -> str:
    names = sorted(map(type_name, kinds))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more or "nothing"
