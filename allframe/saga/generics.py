"""What a type with arguments is made of, and what its arguments are where it is seen as one of its bases.

``Page[Item]`` is a ``Page`` of ``Item``; seen as a Sequence, ``dict[str, int]`` is not one, and as an Iterable it has str.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, Generic, Protocol, get_args, get_origin

from typing_extensions import Unpack

from allframe.saga.kinds import substitute, type_hints

__all__ = ["arguments_as", "items_of", "named", "parameters_of", "parts", "subclass"]


def parts(annotation: Any) -> tuple[Any, tuple[Any, ...]]:
    """The class of an annotation and its arguments; of a bare class there are none."""
    made = getattr(annotation, "__pydantic_generic_metadata__", None)
    if made and made["origin"] and isinstance(annotation, type):
        return made["origin"], tuple(made["args"])
    origin = get_origin(annotation)
    return (annotation, ()) if origin is None else (origin, get_args(annotation))


def subclass(cls: Any, above: Any) -> bool:
    """`issubclass`, also for what cannot be asked so: then by name of the bases."""
    try:
        return issubclass(cls, above)
    except TypeError:  # a Protocol that cannot be asked at run time, or a TypedDict
        return above in getattr(cls, "__mro__", ())


def named(cls: Any, arguments: tuple[Any, ...]) -> dict[Any, Any]:
    """Each type variable of ``cls`` with the argument that stands for it."""
    parameters = parameters_of(cls)
    return dict(zip(parameters, arguments, strict=True)) if len(parameters) == len(arguments) else {}


def parameters_of(cls: Any) -> tuple[Any, ...]:
    """The type variables of a class."""
    made = getattr(cls, "__pydantic_generic_metadata__", None)
    return tuple(made["parameters"]) if made else tuple(getattr(cls, "__parameters__", ()))


def items_of(annotation: Any) -> list[Any] | None:
    """The types of the items of a tuple whose length is known; None of any other."""
    cls, arguments = parts(annotation)
    if not isinstance(cls, type) or not issubclass(cls, tuple):
        return None
    if cls is not tuple:  # a NamedTuple
        fields = getattr(cls, "_fields", None)
        if fields is None:
            return next((found for base in _bases(cls, arguments) if (found := items_of(base)) is not None), None)
        hints = type_hints(cls)
        return [substitute(hints.get(field, Any), named(cls, arguments)) for field in fields]
    if annotation is tuple or ... in arguments or any(_is_unpacked(argument) for argument in arguments):
        return None
    bare = not arguments and get_origin(annotation) is not tuple
    return None if bare or str(annotation) == "typing.Tuple" else list(arguments)


def _is_unpacked(argument: Any) -> bool:
    """Whether it is ``*tuple[int, ...]``, or a ``*Ts``."""
    return bool(getattr(argument, "__unpacked__", False)) or get_origin(argument) is Unpack


#: The items of what has no arguments.
_TEXTS: Final[Mapping[Any, Any]] = {str: str, bytes: int, bytearray: int}


def arguments_as(annotation: Any, above: Any) -> tuple[Any, ...] | None:
    """The arguments that a type has where it is seen as ``above``, a class that it is one of; None if nobody says."""
    cls, arguments = parts(annotation)
    if cls is above:
        return (arguments if cls is not tuple else _tuple_item(arguments)) or None
    if not isinstance(cls, type):
        return None
    if cls.__module__ in _BUILTIN or cls in _TEXTS:
        return _builtin_arguments(cls, arguments, above)
    for base in _bases(cls, arguments):
        if subclass(parts(base)[0], above) and (found := arguments_as(base, above)):
            return found
    return None


_BUILTIN: Final = frozenset({"builtins", "collections", "collections.abc"})


def _builtin_arguments(cls: type, arguments: tuple[Any, ...], above: Any) -> tuple[Any, ...] | None:
    if cls in _TEXTS:
        arguments = (_TEXTS[cls],)
    elif cls is tuple:
        arguments = _tuple_item(arguments)
    elif cls is Counter and arguments:
        arguments = (*arguments, int)
    if not arguments:
        return None
    if subclass(above, Mapping):
        return arguments if len(arguments) == 2 else None
    # Whoever goes over a mapping sees its keys.
    return arguments[:1] if above.__module__ in _BUILTIN else None


def _tuple_item(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    return arguments[:1] if len(arguments) == 2 and arguments[1] is ... else ()


def _bases(cls: Any, arguments: tuple[Any, ...]) -> Iterator[Any]:
    """The bases of a class as they were written, with its arguments in the place of its type variables."""
    own = named(cls, arguments)
    for base in cls.__dict__.get("__orig_bases__", cls.__bases__):
        origin, given = parts(base)
        if origin in (Generic, Protocol, object):
            continue
        if not given and own and set(parameters_of(base)) <= own.keys() and parameters_of(base):
            # pydantic makes Page[T] of its own T to Page.
            yield origin[tuple(own[parameter] for parameter in parameters_of(base))]
        else:
            yield substitute(base, own)
