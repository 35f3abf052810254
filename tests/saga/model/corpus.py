"""Plays that were found to matter: each fails when some case of the engine's decisions is taken out."""

from __future__ import annotations

from typing import Final

from tests.saga.model.plain import Act, Kind, Plot, Script, Step, Stop, Undo

__all__ = ["PLAYS"]

_PIVOT: Final = Step(undo=None, pivot=True)
_SLOW: Final = Act(lasts=9)
_SILENT: Final = Act("silent")
#: What a retry admits that tries nothing again that may have taken effect.
_ANSWERS: Final = frozenset[Kind]({"fail"})

#: In words, what happens.
PLAYS: Final[dict[str, tuple[Plot, Script]]] = {
    "one step succeeds": (Plot({"a": Step()}), Script({})),
    "it times out before its turn": (Plot({"a": Step()}, timeout=2.83), Script({}, queue=3.523)),
    "two of them wait for a third": (
        Plot({"a": Step(), "b": Step(("a",)), "c": Step(("a",)), "d": Step(("b", "c"), takes="b")}),
        Script({"b": (Act(lasts=3.1),), "d": (Act("fail"),)}),
    ),
    "the pivot returns late": (
        Plot({"a": Step(undo=None, pivot=True, timeout=3.27)}),
        Script({"a": (Act(lasts=6, stubborn=True),)}),
    ),
    "the pivot ends unknown": (Plot({"a": _PIVOT}), Script({"a": (Act("loud"),)}, verbs=("retry",))),
    "the time is over while the pivot runs": (Plot({"a": _PIVOT}, timeout=2.83), Script({"a": (Act(lasts=3),)})),
    "the time is over while another may still be undone": (
        Plot({"a": Step(), "b": Step(), "c": _PIVOT}, timeout=1.83),
        Script({}),
    ),
    "it is undone at the second try": (
        Plot({"a": Step(undo=Undo(attempts=3, wait=2.05, timeout=4.39), timeout=6.71)}),
        Script({"a": (_SLOW,), "undo a": (_SLOW,)}),
    ),
    "what undoes it is late": (
        Plot({"a": Step(undo=Undo(timeout=4.39))}),
        Script({"a": (Act("loud"),), "undo a": (Act(lasts=8, stubborn=True),)}),
    ),
    "nobody has the output that undoing needs": (
        Plot({"a": Step(), "b": Step(undo=Undo(if_unknown_fail=True))}),
        Script({"b": (_SILENT,)}, verbs=("retry",)),
    ),
    "somebody cancels it": (Plot({"a": Step(), "b": Step()}), Script({}, cancels=(1.613,))),
    "somebody cancels it while its pivot runs, which fails": (
        Plot({"a": Step(), "b": Step(undo=None, pivot=True, attempts=2)}),
        Script({"b": (Act("fail"),)}, cancels=(1.613,)),
    ),
    "somebody cancels it while its pivot runs, which ends unknown": (
        Plot({"a": Step(), "b": Step(undo=None, pivot=True, attempts=2)}),
        Script({"b": (_SILENT,)}, cancels=(1.613,)),
    ),
    "somebody wants to cancel it while its pivot waits, which may have succeeded": (
        Plot({"a": Step(), "b": Step(undo=None, pivot=True, attempts=2, wait=2.05)}),
        Script({"b": (_SILENT,)}, cancels=(2.613,)),
    ),
    "somebody cancels it, and again when its pivot has succeeded": (
        Plot({"a": _PIVOT, "b": Step(undo=None)}),
        Script({"b": (_SLOW,)}, cancels=(0.613, 0.713, 2.613)),
    ),
    "its time is over before its pivot is asked for again, which then answers": (
        Plot(
            {
                "a": Step(undo=None, pivot=True, attempts=2, wait=0.05, admits=_ANSWERS, timeout=3.27, idempotent=True),
                "b": Step(undo=None, wait=0.05),
            },
            timeout=2.83,
        ),
        Script({"a": (Act(lasts=4), Act("fail", 1.079))}, verbs=("retry",)),
    ),
    "somebody cancels it while its pivot runs, which is silent and then answers": (
        Plot({"a": Step(), "b": Step(undo=None, pivot=True, attempts=3, idempotent=True)}),
        Script({"b": (_SILENT, Act("fail"))}, cancels=(1.613,)),
    ),
    "its time is over while its pivot runs, which is silent, dies and then answers": (
        Plot({"a": Step(), "b": Step(undo=None, pivot=True, attempts=3, wait=2.11, idempotent=True)}, timeout=1.83),
        Script({"b": (_SILENT, _SLOW, Act("fail"))}, stops=(Stop(6.779),)),
    ),
    "its pivot is silent and then answers as somebody is refused, and its time is over": (
        Plot({"a": Step(), "b": Step(undo=None, pivot=True, attempts=3, wait=2.11, idempotent=True)}, timeout=4.83),
        Script({"b": (_SILENT, Act("fail", 2.1))}, cancels=(3.613,)),
    ),
    "somebody cancels it, its time is over, and its pivot never answers": (
        Plot({"a": Step(), "b": Step(undo=None, pivot=True, attempts=2, wait=2.11)}, timeout=4.83),
        Script({"b": (_SILENT, Act("fail"), Act("fail"), Act("fail"))}, cancels=(1.613,), verbs=("retry", "retry")),
    ),
    "it must not be repeated": (Plot({"a": Step(attempts=3, repeatable=False)}), Script({"a": (_SILENT,)})),
    "it may be repeated after an answer": (
        Plot({"a": Step(attempts=3, repeatable=False)}),
        Script({"a": (Act("fail"),)}),
    ),
    "it is repeated after a deadline": (Plot({"a": Step(attempts=3, timeout=3.27)}), Script({"a": (_SLOW,)})),
    "it is not tried again when another has failed": (
        Plot({"a": Step(attempts=2, timeout=3.27), "b": Step(after=())}),
        Script({"a": (_SLOW,), "b": (Act("loud"),)}),
    ),
    "all attempts are used up after the pivot": (
        Plot({"a": _PIVOT, "b": Step(undo=None, timeout=3.27)}),
        Script({"b": (_SLOW,)}, verbs=("retry",)),
    ),
    "the process dies in a step and in what undoes it": (
        Plot({"a": Step(), "b": Step()}),
        Script({"b": (_SLOW, Act("fail")), "undo a": (_SLOW,)}, stops=(Stop(4.779), Stop(17.779))),
    ),
    "it is late": (Plot({"a": Step(timeout=3.27)}), Script({"a": (Act(lasts=6, stubborn=True),)})),
    "its output is lost": (Plot({"a": Step()}), Script({"a": (Act("lost"),)})),
    "the pivot fails": (Plot({"a": Step(), "b": _PIVOT}), Script({"b": (Act("fail"),)})),
    "what comes after the pivot fails": (
        Plot({"a": _PIVOT, "b": Step(undo=None)}),
        Script({"b": (Act("fail"), Act("fail"))}, verbs=("retry", "retry")),
    ),
    "its time is over, and what comes after the pivot fails once": (
        Plot({"a": _PIVOT, "b": Step(undo=None, attempts=2)}, timeout=2.83),
        Script({"b": (Act("fail", 3.1),)}),
    ),
    "an output is lost that a later step takes": (
        Plot({"a": _PIVOT, "b": Step(undo=None, takes="a")}),
        Script({"a": (Act("lost"),)}, verbs=("retry",)),
    ),
    "somebody asks in vain for what is blocked, between two deaths": (
        Plot({"a": _PIVOT, "b": Step(undo=None), "c": Step(("a",), undo=None, takes="a")}),
        Script(
            {"a": (Act("lost"),)},
            cancels=(9.613,),
            stops=(Stop(4.779, gap=0.101), Stop(11.779, gap=0.101)),
            verbs=("retry", "retry"),
        ),
    ),
    "an output is lost that nobody takes": (Plot({"a": _PIVOT, "b": Step(undo=None)}), Script({"a": (Act("lost"),)})),
    "the output is there that undoing needs": (
        Plot({"a": Step(undo=Undo(if_unknown_fail=True)), "b": Step()}),
        Script({"b": (Act("fail"),)}),
    ),
    "what only reads ends unknown": (Plot({"a": Step(undo=None, readonly=True)}), Script({"a": (_SILENT,)})),
    "a branch cannot be undone, and its root is left": (
        Plot({"a": Step(), "b": Step(("a",)), "c": Step(()), "d": Step(("a", "c"))}),
        Script({"c": (Act("fail", 5.1),), "undo b": (Act("fail"),)}),
    ),
    "the rollback is asked for again, with fresh attempts": (
        Plot({"a": Step(undo=Undo(attempts=2, wait=0.05))}),
        Script({"a": (_SILENT,), "undo a": (Act("fail"),) * 3}, verbs=("retry",)),
    ),
    "it waits after an answer, and the process leaves": (
        Plot({"a": Step(attempts=2, wait=2.11)}, timeout=9.83),
        Script({"a": (Act("fail"),)}, stops=(Stop(1.779, grace=2.93),)),
    ),
    "it waits after silence, and the process leaves": (
        Plot({"a": Step(attempts=2, wait=2.11)}, timeout=9.83),
        Script({"a": (_SILENT,)}, stops=(Stop(1.779, grace=2.93),)),
    ),
    "it waits after silence, and another fails": (
        Plot({"a": Step(attempts=2, wait=4.11), "b": Step(())}),
        Script({"a": (_SILENT,), "b": (Act("fail", 3.1),)}),
    ),
}
