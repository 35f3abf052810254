"""The category of a stream: what its name says it is one of.

It is what stands before the first ``-``, as in Message DB: the streams ``account-1`` and ``account-2`` are of the category
``account``, and so is a stream of just that name. Names of allframe's own streams, which begin with ``$``, are parted at
the first ``/``: ``$saga/transfer-100`` is of ``$saga``.
"""

from __future__ import annotations

__all__ = ["category_of", "check_category", "separator"]


def category_of(stream: str) -> str:
    """The category of the stream of this name."""
    return stream.partition(separator(stream))[0]


def separator(name: str) -> str:
    """What parts the category from the rest, in a stream's name or after a category."""
    return "/" if name.startswith("$") else "-"


def check_category(category: str | None, *, system: bool) -> None:
    """Refuse to look for what no stream can be of, or for streams that are left out.

    Raises:
        ValueError: naming what to ask for.
    """
    given: object = category
    if given is None:
        return
    if not isinstance(given, str) or not given:
        raise ValueError(f"Expected the name of a category, such as 'account', or None for all. Found {given!r}.")
    assert category is not None
    if category != category_of(category):
        raise ValueError(
            f"{category!r} is no category: that is what stands before the first {separator(category)!r} of a stream's name, "
            f"here {category_of(category)!r}. To read one stream, use read()."
        )
    if category.startswith("$") and not system:
        raise ValueError(
            f"The streams of {category!r} are allframe's own, and left out: ask for them with system=True."
        )
