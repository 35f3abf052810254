"""Which step runs before which, kept as the fewest edges that say so."""

from __future__ import annotations

from allframe.saga.ordering import order_of


def test_the_order_keeps_only_edges_that_no_others_imply() -> None:
    order = order_of([(), (0,), (0, 1), (2, 0), (1,)])
    assert order.after == ((), (0,), (1,), (2,), (1,))
    assert order.beside(2, 4)
    assert order.precedes(0, 3)
    assert not order.beside(0, 4)


def test_the_order_of_a_class_does_not_depend_on_how_it_is_written() -> None:
    forward = order_of([(), (0,), (0,), (1, 2)])
    backward = order_of([(1, 2), (3,), (3,), ()])
    assert backward.after == ((1, 2), (3,), (3,), ())
    assert [bin(bits).count("1") for bits in forward.before] == [0, 1, 1, 3]
    assert [bin(bits).count("1") for bits in backward.before] == [3, 1, 1, 0]
