"""Sets in JSON: lists whose order is another in each process, as Python goes through a set. Here equal sets get one order.

What is stored is compared by its bytes, for whether a command or a saga is the one that was given before.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, RootModel
from pydantic_core import to_json

__all__ = ["has_sets", "sort_sets"]


def has_sets(schema: Any) -> bool:
    """Whether values of this JSON schema can have sets."""
    if isinstance(schema, Mapping):
        return schema.get("uniqueItems") is True or any(map(has_sets, schema.values()))
    return isinstance(schema, list) and any(map(has_sets, schema))


def sort_sets(value: Any, dumped: Any) -> Any:
    """``dumped``, pydantic's JSON of ``value`` by field names, with the items of each set in the order of their own JSON."""
    if isinstance(value, RootModel):
        return sort_sets(value.root, dumped)
    if isinstance(value, BaseModel) and isinstance(dumped, dict):
        inside = {**dict(iter(value)), **(value.__pydantic_extra__ or {})}
        return {key: sort_sets(inside.get(key), item) for key, item in dumped.items()}
    if dataclasses.is_dataclass(value) and isinstance(dumped, dict):
        return {key: sort_sets(getattr(value, key, None), item) for key, item in dumped.items()}
    if isinstance(value, dict) and isinstance(dumped, dict) and len(value) == len(dumped):
        pairs = zip(value.values(), dumped.items(), strict=True)
        return {key: sort_sets(item, seen) for item, (key, seen) in pairs}
    if (
        isinstance(value, list | tuple | deque | set | frozenset)
        and isinstance(dumped, list)
        and len(value) == len(dumped)
    ):
        items = [sort_sets(item, seen) for item, seen in zip(value, dumped, strict=True)]
        return sorted(items, key=to_json) if isinstance(value, set | frozenset) else items
    return dumped
