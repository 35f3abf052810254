"""`Whole`: a class whose annotations are resolved, at the latest, when the first object of it is made, whichever way."""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["Whole"]


class Whole:
    """What `Saga` and `SagaStep` have in common. ``model_validate`` and its like would ask pydantic, which has other words.

    Each has ``__allframe_resolve__``: it resolves what was missing when the class was created, and raises
    `DefinitionError` for what still cannot be, or turns out to break a rule.
    """

    if not TYPE_CHECKING:  # type checkers go by the fields

        def __new__(cls, *_, **__):
            cls.__allframe_resolve__()
            return super().__new__(cls)

        @classmethod
        def model_validate(cls, *given, **options):
            cls.__allframe_resolve__()
            return super().model_validate(*given, **options)

        @classmethod
        def model_validate_json(cls, *given, **options):
            cls.__allframe_resolve__()
            return super().model_validate_json(*given, **options)

        @classmethod
        def model_validate_strings(cls, *given, **options):
            cls.__allframe_resolve__()
            return super().model_validate_strings(*given, **options)
