"""Which step runs before which, from what was written: `after=`, or else the order of the class body.

A set of steps is an ``int`` with a bit for each: a thousand steps that all wait for each other stay cheap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["Order", "order_of"]


@dataclass(frozen=True, slots=True)
class Order:
    """The order of steps, which are named by their place in the body."""

    #: For each step, a bit for every step that ends before it begins.
    before: tuple[int, ...]
    #: For each step, those that it waits for and that no other of them waits for.
    after: tuple[tuple[int, ...], ...]
    #: Steps that wait for each other in a circle, each for the next; empty if there is none.
    cycle: tuple[int, ...] = ()

    def precedes(self, first: int, second: int) -> bool:
        """Whether ``first`` ends before ``second`` begins."""
        return bool(self.before[second] >> first & 1)

    def beside(self, first: int, second: int) -> bool:
        """Whether the two may run at the same time."""
        return first != second and not self.precedes(first, second) and not self.precedes(second, first)


def order_of(after: Sequence[Sequence[int] | None]) -> Order:
    """The order of steps of which each names those that it runs after; None: after all that are written above it.

    Where they close a circle, the order is that of the body, and `Order.cycle` tells which.
    """
    wanted = [(1 << i) - 1 if named is None else _bits(named) for i, named in enumerate(after)]
    sequence = _sorted(wanted)
    if len(sequence) < len(wanted):
        cycle = _cycle(wanted, sequence)
        body = order_of([None] * len(wanted))
        return Order(body.before, body.after, cycle)
    before = [0] * len(wanted)
    direct: list[tuple[int, ...]] = [()] * len(wanted)
    place = {step: rank for rank, step in enumerate(sequence)}
    in_body_order = sequence == list(range(len(wanted)))
    for step in sequence:
        left, found = wanted[step], []
        while left:
            # The one that comes last in the order is implied by no other.
            last = left.bit_length() - 1 if in_body_order else max(_members(left), key=place.__getitem__)
            found.append(last)
            before[step] |= before[last] | 1 << last
            left &= ~before[step]
        direct[step] = tuple(sorted(found))
    return Order(tuple(before), tuple(direct))


def _bits(steps: Sequence[int]) -> int:
    found = 0
    for step in steps:
        found |= 1 << step
    return found


def _members(bits: int) -> Iterator[int]:
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest


def _sorted(wanted: Sequence[int]) -> list[int]:
    """The steps so that each comes after those that it waits for; without those in a circle, or behind one."""
    found: list[int] = []
    done, waiting = 0, list(range(len(wanted)))
    while waiting:
        left = []
        for step in waiting:
            if wanted[step] & ~done:
                left.append(step)
            else:
                done |= 1 << step
                found.append(step)
        if len(left) == len(waiting):
            break
        waiting = left
    return found


def _cycle(wanted: Sequence[int], outside: Sequence[int]) -> tuple[int, ...]:
    """One circle among the steps that are not ``outside`` it."""
    inside = ~_bits(outside)
    step = next(i for i in range(len(wanted)) if inside >> i & 1)
    path: list[int] = []
    while step not in path:
        path.append(step)
        # One that was named explicitly or stands above: every step left waits for another that is left.
        step = next(_members(wanted[step] & inside))
    return tuple(path[path.index(step) :])
