"""``typecheck=True``: the types inside steps and compensations are checked while they run, by typeguard.

A whole function is instrumented: what it is given, what it returns, and each annotated variable that it assigns. Where
its text cannot be had (a REPL), or it names types of a function around that it does not use itself, what it is given
and returns is checked at its rim. What is injected is not checked: a test provides whatever it likes.

Where a wrong type shows says what it means for the saga: `Wrong`.
"""

from __future__ import annotations

import builtins
import dis
import functools
import importlib.util
import inspect
import types
import warnings
from collections.abc import Awaitable, Callable, Iterator, Mapping
from enum import Enum
from typing import Annotated, Any, Final

from allframe.inject import injected_type, type_name

__all__ = ["Wrong", "by_default", "checked", "is_installed", "is_on", "wrong_type"]

Function = Callable[..., Any]

#: What holds where a saga does not say it, and an orchestrator is not under test.
_by_default = False


def by_default(on: bool) -> bool:
    """Check types in the sagas that do not say whether to, if typeguard is there; returns what held before.

    The pytest plugin calls it.
    """
    global _by_default
    before, _by_default = _by_default, on and is_installed()
    return before


def is_installed() -> bool:
    """Whether typeguard is there."""
    return importlib.util.find_spec("typeguard") is not None


def is_on(said: bool | None) -> bool:
    """Whether types are checked in a saga that says ``typecheck=said``."""
    return _by_default if said is None else said


def checked(function: Function, hints: Mapping[str, Any]) -> Function:
    """``function`` with its types checked, as a function of its own. ``hints``: its annotations, resolved."""
    _leave_out_what_is_injected()
    return _instrumented(function) or _checked_at_the_rim(function, hints)


# --- the whole function ----------------------------------------------------------------------------------------------

#: By the identity of a code object, which is kept: the code that typeguard made of it, or None. A class that is made
#: in a function that runs again has the code that it had.
_CODES: Final[dict[int, tuple[types.CodeType, types.CodeType | None]]] = {}
#: The codes that were made, and those of functions inside them.
_MADE: Final[set[int]] = set()
_WITHIN: Final[set[int]] = set()


def _instrumented(function: Function) -> Function | None:
    """A copy with the code that typeguard makes of it; None if it cannot, or that would need what is not there."""
    code = getattr(function, "__code__", None)
    if not isinstance(function, types.FunctionType) or code is None:
        return None
    if id(code) not in _CODES:
        _CODES[id(code)] = code, _code_of_typeguard(function)
    made = _CODES[id(code)][1]
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    if made is None or not cells.keys() >= set(made.co_freevars) or not _has_globals(function, made):
        return None
    _MADE.add(id(made))
    _WITHIN.update(map(id, _inner_codes(made)))
    copy = types.FunctionType(
        made,
        function.__globals__,
        function.__name__,
        function.__defaults__,
        tuple(cells[name] for name in made.co_freevars),
    )
    copy.__kwdefaults__ = function.__kwdefaults__
    return functools.update_wrapper(copy, function)


def _code_of_typeguard(function: types.FunctionType) -> types.CodeType | None:
    import typeguard

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", typeguard.InstrumentationWarning)
        try:
            made: Any = typeguard.typechecked(function)
        except Exception:  # noqa: BLE001 - it reads the source, which may be missing, or of another version
            return None
    return None if made is function else made.__code__


def _has_globals(function: types.FunctionType, made: types.CodeType) -> bool:
    """Whether every global name that the made code uses besides is there: a class in the body of the saga is none."""
    more = _global_names(made) - _global_names(function.__code__)
    return all(name in function.__globals__ or hasattr(builtins, name) for name in more)


def _global_names(code: types.CodeType) -> set[str]:
    return {
        instruction.argval
        for each in (code, *_inner_codes(code))
        for instruction in dis.get_instructions(each)
        if instruction.opname == "LOAD_GLOBAL"
    }


def _inner_codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """Those of the functions that stand in it."""
    for each in code.co_consts:
        if isinstance(each, types.CodeType):
            yield each
            yield from _inner_codes(each)


# --- its rim ---------------------------------------------------------------------------------------------------------


def _checked_at_the_rim(function: Function, hints: Mapping[str, Any]) -> Function:
    signature = inspect.signature(function)

    async def checks(*args: Any, **kwargs: Any) -> Any:
        check_argument_types(hints, signature.bind(*args, **kwargs).arguments)
        call: Awaitable[Any] = function(*args, **kwargs)
        return check_return_type(hints, await call)

    def checks_on_thread(*args: Any, **kwargs: Any) -> Any:
        check_argument_types(hints, signature.bind(*args, **kwargs).arguments)
        return check_return_type(hints, function(*args, **kwargs))

    made = checks if inspect.iscoroutinefunction(function) else checks_on_thread
    _MADE.add(id(made.__code__))
    return functools.wraps(function)(made)


# These two have the names of typeguard's own, by which `wrong_type` knows what was checked.


def check_argument_types(hints: Mapping[str, Any], arguments: Mapping[str, Any]) -> None:
    for name, value in arguments.items():
        if name in hints and injected_type(hints[name]) is None:
            _check(value, hints[name], f'argument "{name}" ({type_name(type(value))})')


def check_return_type(hints: Mapping[str, Any], value: Any) -> Any:
    if "return" in hints:
        _check(value, hints["return"], f"the return value ({type_name(type(value))})")
    return value


def _check(value: Any, hint: Any, what: str) -> None:
    import typeguard

    try:
        typeguard.check_type(value, hint)
    except typeguard.TypeCheckError as error:
        error.append_path_element(what)
        raise


# --- what is injected ------------------------------------------------------------------------------------------------


@functools.cache
def _leave_out_what_is_injected() -> None:
    import typeguard

    typeguard.checker_lookup_functions.insert(0, _of_injected)


def _of_injected(_: Any, __: tuple[Any, ...], extras: tuple[Any, ...]) -> Callable[..., None] | None:
    """The check of an annotation with these marks, if it asks to inject something: none at all."""
    asks = extras and injected_type(Annotated[(object, *extras)]) is not None
    return (lambda *_: None) if asks else None


# --- what came of it -------------------------------------------------------------------------------------------------


class Wrong(Enum):
    """Where a wrong type was found, and so what it means for the step."""

    #: In what it was given: its body never began.
    ARGUMENT = "argument"
    #: In a variable: it may have had its effect by then.
    VARIABLE = "variable"
    #: In what it returned: it had its effect, and its output is lost.
    RETURN = "return"


def wrong_type(error: BaseException | None) -> Wrong | None:
    """Where the check of a step found what ``error`` says; None if it is another error, or of a check of the user's own."""
    if error is None or (type(error).__module__.partition(".")[0], type(error).__name__) != _CHECK_FAILED:
        return None
    caller, check = _check_that_failed(error.__traceback__)
    if id(caller) in _WITHIN:
        return Wrong.VARIABLE
    if check is None or id(caller) not in _MADE:
        return None
    if check.co_name.startswith("check_argument_types"):
        return Wrong.ARGUMENT
    return Wrong.RETURN if check.co_name.startswith("check_return_type") else Wrong.VARIABLE


_CHECK_FAILED: Final = ("typeguard", "TypeCheckError")


def _check_that_failed(trace: types.TracebackType | None) -> tuple[types.CodeType | None, types.CodeType | None]:
    """The code that had something checked, and that of the check, as the traceback has them."""
    caller = None
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_name.startswith("check_") and trace.tb_frame.f_globals.get("__name__", "").startswith(_CHECKS):
            return caller, code
        caller, trace = code, trace.tb_next
    return caller, None


_CHECKS: Final = ("typeguard", __name__)
