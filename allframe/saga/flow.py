"""AF107's question: can what a step returns be what a parameter takes?

The value was stored by the return annotation and read again before anybody takes it (`allframe.saga.kinds`), and no code
stands between the two that could narrow it: what the annotation of the parameter excludes arrives all the same. So

- each alternative that the produced annotation **names**, a member of a union or a value of a Literal, must be one that can
  be consumed: of ``Receipt | None`` the None would reach whoever takes a ``Receipt``;
- what it does not name is given the benefit of the doubt: an ``int`` may be the ``Literal[3]``, a `dict` the TypedDict, an
  abstract type any class below it, ``Any`` everything;
- containers are copies of their own, which nobody else writes to: a ``list[Refund]`` can be a ``list[Payment]``;
- what cannot be decided, fits.

So what a type checker accepts is accepted, and what is refused would fail for some value that the step says it may return.
"""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, Never, NotRequired, Required, TypeVar, get_args, get_origin

import typing_extensions
from typing_extensions import is_protocol, is_typeddict

from allframe.saga.alternatives import NOTHING, UNSAID, alternatives_of, is_new_type, lineage
from allframe.saga.annotations import MISSING
from allframe.saga.context import Unknown
from allframe.saga.generics import arguments_as, items_of, named, parameters_of, parts, subclass
from allframe.saga.kinds import (
    as_stored,
    attributes,
    is_closed,
    is_data,
    is_exact,
    is_undecided,
    parts_of_protocol,
    share_values,
    substitute,
    type_hints,
)

__all__ = ["Misfit", "can_be", "misfit"]


@dataclass(frozen=True, slots=True)
class Misfit:
    """What cannot be consumed of what is produced."""

    made: Any
    taken: Any
    #: Whether nothing of it can; else only ``made``, one of several alternatives.
    whole: bool = True
    #: Where it lies, from the inside out: ``("an item", "a value")``; nothing for the type itself.
    path: tuple[str, ...] = ()
    #: What is not there, if that is it: ``has no 'amount'``.
    lacks: str | None = None

    def inside(self, place: str) -> Misfit:
        return replace(self, path=(*self.path, place))


def can_be(produced: Any, consumed: Any) -> bool:
    """Whether a parameter annotated ``consumed`` can be given what a step returns as ``produced``; undecided: yes.

    An `Unknown` in ``consumed`` takes no part: it stands for the output that nobody has.
    """
    return misfit(produced, consumed) is None


def misfit(produced: Any, consumed: Any) -> Misfit | None:
    """What keeps `can_be` from being true, for whoever must tell a person."""
    if produced is consumed or consumed is MISSING or _is_spelled_out(produced, consumed):
        return None
    try:
        return _Comparison().of(produced, consumed)
    except Exception:  # noqa: BLE001 - classes of the user's are asked, and answer what they like
        return None


def _is_spelled_out(produced: Any, consumed: Any) -> bool:
    """Whether ``produced`` stands in ``consumed`` as it is: so most are written, and so they cost nothing."""
    made, taken = (get_args(side) if isinstance(side, types.UnionType) else (side,) for side in (produced, consumed))
    return all(alternative in taken for alternative in made)


#: So many comparisons are made of one pair; types that refer to themselves could go on for ever.
_ENOUGH: Final = 2000


class _Comparison:
    """The comparison of one pair, with all that stands inside it."""

    def __init__(self) -> None:
        self._left = _ENOUGH
        self._open: list[tuple[Any, Any]] = []

    def of(self, made: Any, taken: Any) -> Misfit | None:
        self._left -= 1
        pair = (made, taken)
        if self._left < 0 or made is taken or pair in self._open:
            return None
        self._open.append(pair)
        try:
            return self._alternatives(made, taken)
        finally:
            self._open.pop()

    def _alternatives(self, made: Any, taken: Any) -> Misfit | None:
        alternatives, open_ended = alternatives_of(made)
        if alternatives[0] in NOTHING:
            return None
        consumers = [consumer for consumer in alternatives_of(taken)[0] if consumer is not Unknown]
        found = [self._one(alternative, consumers, taken) for alternative in alternatives]
        failed = [each for each in found if each is not None]
        if not failed or (open_ended and not all(each and each.whole for each in found)):
            return None
        if len(found) == 1:
            return failed[0]
        if len(failed) == len(found) and all(each.whole for each in failed):
            return Misfit(made, taken)
        return replace(failed[0], whole=False)

    def _one(self, made: Any, consumers: list[Any], taken: Any) -> Misfit | None:
        """One alternative, against all that can be consumed."""
        if made in UNSAID or any(consumer in UNSAID or made == consumer for consumer in consumers):
            return None
        found = []
        for consumer in consumers:
            failed = self._pair(made, consumer)
            if failed is None:
                return None
            found.append(failed)
        if sum(not failed.whole for failed in found) > 1:
            return None  # what one of them cannot take, another may
        inner = max(found, key=lambda failed: (len(failed.path), bool(failed.lacks)), default=None)
        if inner is None or not (inner.path or inner.lacks):
            return Misfit(made, taken)
        return inner

    def _pair(self, made: Any, taken: Any) -> Misfit | None:
        """Neither is a union."""
        if taken in NOTHING:
            return Misfit(made, taken)
        if isinstance(made, TypeVar) or isinstance(taken, TypeVar):
            return self._type_variable(made, taken)
        if is_new_type(made) or is_new_type(taken):
            return self._new_type(made, taken)
        if get_origin(made) is Literal or get_origin(taken) is Literal:
            return self._literal(made, taken)
        return self._classes(made, taken)

    def _type_variable(self, made: Any, taken: Any) -> Misfit | None:
        if isinstance(taken, TypeVar):
            bounds = taken.__constraints__ or (taken.__bound__ or Any,)
            fits = any(self.of(made, bound) is None for bound in bounds)
        else:
            bounds = made.__constraints__ or (made.__bound__ or Any,)
            # It may stand for what is below its bound.
            fits = any(self.of(bound, taken) is None or self.of(taken, bound) is None for bound in bounds)
        return None if fits else Misfit(made, taken)

    def _new_type(self, made: Any, taken: Any) -> Misfit | None:
        if is_new_type(made) and is_new_type(taken):
            related = taken in lineage(made) or made in lineage(taken)
            return None if related else Misfit(made, taken)
        failed = self.of(lineage(made)[-1], lineage(taken)[-1])
        return failed if failed is None or failed.path or failed.lacks else Misfit(made, taken, failed.whole)

    def _literal(self, made: Any, taken: Any) -> Misfit | None:
        if get_origin(made) is not Literal:
            kind, _ = parts(made)
            kinds = [type(value) for value in get_args(taken)]
            can = not isinstance(kind, type) or any(_can_hold(kind, each) for each in kinds)
            return None if can else Misfit(made, taken)
        (value,) = get_args(made)
        if get_origin(taken) is Literal:
            same = any(type(value) is type(other) and value == other for other in get_args(taken))
            return None if same else Misfit(made, taken)
        return None if self._classes(type(value), taken) is None else Misfit(made, taken)

    # --- classes ---------------------------------------------------------------------------------------------------

    def _classes(self, made: Any, taken: Any) -> Misfit | None:
        (cls, _), (above, _) = parts(made), parts(taken)
        if not (isinstance(cls, type) and isinstance(above, type)) or is_undecided(cls) or is_undecided(above):
            return None
        if type in (cls, above):
            return Misfit(made, taken) if cls is not above and is_data(cls if above is type else above) else None
        if is_typeddict(above) or (is_typeddict(cls) and not is_protocol(above)):
            return self._typed_dicts(made, taken)
        stored = as_stored(cls)
        if is_protocol(above) and not _is_named_base(stored, above):
            return self._protocol(made, taken)
        if subclass(stored, above) or subclass(cls, above):
            return self._arguments(made, taken, above)
        if (issubclass(cls, int) and above in (float, complex)) or (cls, above) == (float, complex):
            return None  # PEP 484: whoever takes a float can be given an int
        if is_exact(stored):
            return Misfit(made, taken)
        if subclass(above, cls):
            return self._arguments(taken, made, cls, turned=True)
        return None if share_values(cls, above) else Misfit(made, taken)

    def _arguments(self, below: Any, above: Any, base: Any, *, turned: bool = False) -> Misfit | None:
        """The arguments of two types, of which one can be the other; ``turned``: the consumed one is below."""
        given = arguments_as(above, base)
        items, wanted = items_of(below), items_of(above)
        if not turned and wanted is not None:
            return self._tuple(below, items, wanted, above)
        if items is not None and given and len(given) == 1 and not turned:
            return _first(self._items(items, given * len(items)))
        found = arguments_as(below, base)
        if not given or not found or len(given) != len(found):
            return None
        pairs = zip(given, found, strict=True) if turned else zip(found, given, strict=True)
        return _first([self._inside(pair, place) for pair, place in zip(pairs, _places(base), strict=False)])

    def _tuple(self, made: Any, items: list[Any] | None, wanted: list[Any], taken: Any) -> Misfit | None:
        if items is None:
            each = arguments_as(made, tuple)
            items = [each[0] if each else Any] * len(wanted)
        elif len(items) != len(wanted):
            return Misfit(made, taken, lacks=f"has {len(items)} items and not {len(wanted)}")
        return _first(self._items(items, wanted))

    def _items(self, items: Iterable[Any], wanted: Iterable[Any]) -> list[Misfit | None]:
        pairs = zip(items, wanted, strict=True)
        return [self._inside(pair, f"item {number}") for number, pair in enumerate(pairs, start=1)]

    def _inside(self, pair: tuple[Any, Any], place: str) -> Misfit | None:
        failed = self.of(*pair)
        return failed.inside(place) if failed else None

    # --- what is compared by what is in it -------------------------------------------------------------------------

    def _typed_dicts(self, made: Any, taken: Any) -> Misfit | None:
        (cls, given), (above, wanted) = parts(made), parts(taken)
        if not is_typeddict(above):
            if not subclass(dict, above):
                return Misfit(made, taken)
            return self._keys_in_dict(_keys(cls, given), arguments_as(taken, above))
        if is_typeddict(cls):
            return self._keys(cls, _keys(cls, given), above, _keys(above, wanted), made, taken)
        if not subclass(as_stored(cls), dict):
            return Misfit(made, taken) if is_data(as_stored(cls)) else None
        return self._dict_with_keys(arguments_as(made, Mapping), _keys(above, wanted), above)

    def _keys(
        self, cls: Any, has: Mapping[str, Any], above: Any, wants: Mapping[str, Any], made: Any, taken: Any
    ) -> Misfit | None:
        for key in sorted(_required(above, wants) - _required(cls, has)):
            if key in has:
                return Misfit(made, taken, whole=False, lacks=f"may have no {key!r}")
            if not _takes_more_keys(cls):
                return Misfit(made, taken, lacks=f"has no {key!r}")
        return _first([self._inside((has[key], wants[key]), repr(key)) for key in wants if key in has])

    def _keys_in_dict(self, has: Mapping[str, Any], wanted: tuple[Any, ...] | None) -> Misfit | None:
        if not wanted or not has:
            return None
        key = self._inside((str, wanted[0]), "a key")
        if key is not None or len(wanted) < 2:
            return key
        return _first([self._inside((annotation, wanted[1]), repr(name)) for name, annotation in has.items()])

    def _dict_with_keys(self, given: tuple[Any, ...] | None, wants: Mapping[str, Any], above: Any) -> Misfit | None:
        if not given or len(given) != 2 or not (required := _required(above, wants)):
            return None
        found = [self._inside((given[0], str), "a key")]
        found += [self._inside((given[1], wants[key]), repr(key)) for key in sorted(required)]
        # Of several types of values, each key may hold its own.
        return _first([each for each in found if each and each.whole])

    def _protocol(self, made: Any, taken: Any) -> Misfit | None:
        (cls, given), (above, wanted) = parts(made), parts(taken)
        stored = as_stored(cls)
        if not is_closed(stored):
            return None
        has, wants = attributes(stored, named(stored, given)), parts_of_protocol(above, named(above, wanted))
        lacking = next((name for name in sorted(wants) if name not in has), None)
        if lacking is not None:
            return Misfit(made, taken, lacks=f"has no {lacking!r}")
        return _first([self._inside((has[name], wants[name]), repr(name)) for name in wants])


def _first(found: list[Misfit | None]) -> Misfit | None:
    """The first that fails, and before it one of which nothing fits."""
    failed = [each for each in found if each is not None]
    return next((each for each in failed if each.whole), failed[0] if failed else None)


def _can_hold(cls: Any, kind: type) -> bool:
    """Whether a value that is read as ``cls`` can be of ``kind``, the type of a literal value."""
    stored = as_stored(cls)
    return is_undecided(cls) or kind is stored or (not is_exact(stored) and subclass(kind, stored))


def _is_named_base(cls: Any, protocol: Any) -> bool:
    return protocol in getattr(cls, "__mro__", ())


#: What a TypedDict says of more keys if it takes none, or says nothing of them.
_NO_MORE: Final = (None, Never, getattr(typing_extensions, "NoExtraItems", None))


def _takes_more_keys(cls: Any) -> bool:
    config = getattr(cls, "__pydantic_config__", {})
    return config.get("extra") == "allow" or getattr(cls, "__extra_items__", None) not in _NO_MORE


def _required(cls: Any, keys: Mapping[str, Any]) -> set[str]:
    """The keys that every value has; where annotations were text, the class itself does not know."""
    found = {key for key in cls.__required_keys__ if get_origin(keys.get(key)) is not NotRequired}
    return found | {key for key, hint in keys.items() if get_origin(hint) is Required}


def _keys(cls: Any, arguments: tuple[Any, ...]) -> dict[str, Any]:
    return {key: substitute(hint, named(cls, arguments)) for key, hint in type_hints(cls).items()}


def _places(base: Any) -> tuple[str, ...]:
    """What the arguments of a type are called."""
    if subclass(base, Mapping):
        return ("a key", "a value")
    return tuple(f"the {parameter.__name__}" for parameter in parameters_of(base)) or ("an item",)
