"""`Container`: a dishka container, and whether it can make something, asked without making it.

dishka looks a type up in the scope that is asked and then in those around it, and checks its graph when a container is
built. What it cannot know is where a scope is opened, so that a type can be there and never be made for an attempt: it
belongs to a deeper scope or to another component, or takes something from a context that an attempt does not have. Here
the same way is gone along the registries, which hold a factory for each type. What only the run can tell, such as a
condition on a provider, is taken to be fine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args, get_origin

import anyio

from allframe.inject.annotation import split_component, type_name
from allframe.inject.scope import Scope

if TYPE_CHECKING:
    import dishka  # pyright: ignore[reportMissingImports]
    from dishka import DependencyKey  # pyright: ignore[reportMissingImports]

    AsyncContainer: TypeAlias = dishka.AsyncContainer
else:
    AsyncContainer = Any  # whoever reads our annotations need not have it

__all__ = ["AsyncContainer", "Container", "is_container", "is_sync_container"]


class Container:
    """A container of dishka's, which stays its owner's to close.

    Args:
        container: What ``dishka.make_async_container`` gave.
        context: The types that the context of each scope has.
        closing: Seconds that a scope may take to close.

    Raises:
        TypeError: if it is none, or one that makes objects synchronously.
        ValueError: if there is no scope below its own.
    """

    def __init__(self, container: AsyncContainer, *, context: Iterable[Any] = (), closing: float = 10.0) -> None:
        _check_kind(container)
        self._container, self._closing, kinds = container, closing, tuple(context)
        try:
            probe = container(dict.fromkeys(kinds))  # nothing is made before it is asked for
        except ValueError as error:
            raise ValueError(
                f"The container is in scope {container.scope.name}, and dishka has no scope below it to make objects in. "
                "Hand in the one that make_async_container() gave."
            ) from error
        #: From the scope of an attempt outwards.
        self._levels = list(_outwards(probe))
        self._context = ", ".join(type_name(kind) for kind in kinds) or "nothing"
        self._lacks: dict[tuple[DependencyKey, int], str | None] = {}
        self._wanted: dict[Any, str | None] = {}

    def scope(self, context: dict[Any, object]) -> Scope:
        """A scope to make objects in. Nothing is made yet."""
        return Scope(self._container(context), self._closing)

    def lack(self, wanted: Any) -> str | None:
        """Why it cannot make ``wanted`` in a scope of its own, said of the type: ``"is made in scope STEP, within …"``.

        None if it can, and empty if it does not know the type.
        """
        if wanted not in self._wanted:
            self._wanted[wanted] = self._lack(_key(*split_component(wanted)), 0)
        return self._wanted[wanted]

    def makes(self) -> list[Any]:
        """What it can make."""
        found = {
            _as_annotation(key) for level in self._levels for key in list(level.registry.factories) if _is_public(key)
        }
        return [wanted for wanted in found if self.lack(wanted) is None]

    def check_loop(self) -> None:
        """Check that its locks are those of the event loop that runs.

        Raises:
            ValueError: if they are asyncio's, on trio.
        """
        if anyio.get_cancelled_exc_class() is asyncio.CancelledError:
            return
        if any(isinstance(level.lock, asyncio.Lock) for level in self._levels):
            raise ValueError(
                "The container locks with asyncio.Lock, dishka's default, and this is trio, where that lock cannot wait. "
                "Build it with make_async_container(..., lock_factory=anyio.Lock), which works on both."
            )

    def _lack(self, key: DependencyKey, level: int) -> str | None:
        """As `lack`, of what is looked up from ``level`` outwards."""
        if (key, level) not in self._lacks:
            self._lacks[key, level] = None  # in a circle, which dishka itself refuses, it is looked for once
            self._lacks[key, level] = self._find_lack(key, level)
        return self._lacks[key, level]

    def _find_lack(self, key: DependencyKey, level: int) -> str | None:
        for number, container in enumerate(self._levels[level:], level):
            factory = container.registry.get_factory(key)
            if factory is not None:
                return self._lack_of_factory(factory, container, number)
        return self._elsewhere(key)

    def _lack_of_factory(self, factory: Any, container: AsyncContainer, level: int) -> str | None:
        if factory.when_dependencies:
            return None  # which of them it is, is decided when it is made
        if factory.type.value == "context":
            return self._lack_of_context(factory, container)
        for needed in (*factory.dependencies, *factory.kw_dependencies.values()):
            if needed.is_const() or needed.is_type_var():
                continue
            lack = self._lack(_bare(needed), level)
            if lack is not None:
                return f"needs {_name(needed)}, which {lack or 'nothing makes'}"
        return None

    def _lack_of_context(self, factory: Any, container: AsyncContainer) -> str | None:
        # The public attribute is deprecated, and warns.
        known: Any = getattr(container, "_context", None)
        if factory.provides == container.registry.container_key or factory.source in (known or ()):
            return None
        return f"comes from the context, and that of an attempt has {self._context}"

    def _elsewhere(self, key: DependencyKey) -> str:
        """Where else the container has it, as text; empty if nowhere."""
        inner = self._levels[0].registry
        registry = inner.child_registry
        while registry is not None:
            if registry.get_factory(key) is not None:
                return f"is made in scope {registry.scope.name}, within an attempt's {inner.scope.name}"
            registry = registry.child_registry
        others = sorted(
            {
                other.component or ""
                for level in self._levels
                for other in level.registry.factories
                if _alike(other, key)
            }
        )
        names = ", ".join(repr(name) if name else "the default one" for name in others)
        return f"is of another component: {names}" if others else ""


def is_container(value: object) -> bool:
    """Whether it is a dishka container that makes objects asynchronously; dishka is not imported for it."""
    return _is_dishkas(value, "AsyncContainer")


def is_sync_container(value: object) -> bool:
    """Whether it is one that makes them synchronously."""
    return _is_dishkas(value, "Container")


def _is_dishkas(value: object, name: str) -> bool:
    return any(cls.__module__.partition(".")[0] == "dishka" and cls.__qualname__ == name for cls in type(value).__mro__)


def _check_kind(container: object) -> None:
    if is_sync_container(container):
        raise TypeError(
            "container= takes a dishka AsyncContainer, found a dishka Container, which makes objects synchronously. Build "
            "it with make_async_container() from the same providers."
        )
    if not is_container(container):
        raise TypeError(f"container= takes a dishka AsyncContainer, found an object of {type(container).__qualname__}.")
    if not hasattr(_key(object, ""), "is_marker"):
        raise TypeError("This dishka is too old to be asked what it can make: pip install 'allframe[dishka]'.")


def _outwards(container: AsyncContainer | None) -> Iterator[AsyncContainer]:
    while container is not None:
        yield container
        container = container.parent_container


def _key(kind: Any, component: str) -> DependencyKey:
    from dishka import DependencyKey  # pyright: ignore[reportMissingImports]

    return DependencyKey(kind, component)


def _bare(key: DependencyKey) -> DependencyKey:
    return key.replace(get_args(key.type_hint)[0]) if get_origin(key.type_hint) is Annotated else key


def _as_annotation(key: DependencyKey) -> Any:
    from dishka import FromComponent  # pyright: ignore[reportMissingImports]

    return Annotated[key.type_hint, FromComponent(key.component)] if key.component else key.type_hint


def _name(key: DependencyKey) -> str:
    return type_name(_as_annotation(key))


def _is_public(key: DependencyKey) -> bool:
    """Whether it is somebody's type, and nothing that dishka keeps for itself."""
    return (
        not key.depth
        and not key.is_marker()
        and not str(getattr(key.type_hint, "__module__", "")).startswith("dishka.")
    )


def _alike(other: DependencyKey, key: DependencyKey) -> bool:
    return bool(other.type_hint == key.type_hint and other.component != key.component)
