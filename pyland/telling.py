# SPDX-License-Identifier: GPL-2.0-only
"""What can be said of exceptions and objects of other people's code, whatever they do.

Their `__str__` and `__repr__` may raise, loop or sleep; their class may lie about its name.
Nothing here raises for that, and all of it ends after `PATIENCE_S`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from types import CodeType, FrameType, TracebackType
from typing import Any

PATIENCE_S = 1.0
"""So long may other people's code take to say what it is."""
_AGAIN_S = 0.1
"""After that, each further piece of it gets so long."""
TEXT_MAX = 2000
"""Characters of one text; what is longer is cut."""
_NOTES_MAX = 10
_BITS_MAX = 128


class PolicyTookTooLongError(BaseException):
    """Raised inside a policy; no `except Exception` of its own keeps it."""


def kind(error: object) -> str:
    """The name of an object's class, which a metaclass or `__class__` cannot forge."""
    name: object = type.__dict__["__name__"].__get__(type(error))
    return exact(name)


def is_a(error: object, *classes: type) -> bool:
    """What isinstance says, without asking the object."""
    return issubclass(type(error), classes)


def exact(text: object) -> str:
    """A text that is a str and nothing derived from it, cut to `TEXT_MAX`."""
    if not issubclass(type(text), str):
        return f"({kind(text)} instead of a text)"
    plain = str.__str__(text)
    return plain if len(plain) <= TEXT_MAX else plain[: TEXT_MAX - 3] + "..."


def attempt(make: Callable[[], object], what: str) -> str:
    """The text that `make` returns; if it returns none, that `what` raised, in brackets.

    With an empty `what`, an empty text then.
    """
    try:
        return exact(_interruptible(make))
    except PolicyTookTooLongError:
        return f"({what} took longer than {PATIENCE_S:g} s)" if what else ""
    except BaseException as another:  # noqa: BLE001 - it is other people's code
        return f"({what} raised {kind(another)})" if what else ""


def told(make: Callable[[], object], what: str) -> str:
    """The same for a caller that has no `patience` of its own."""
    with patience():
        return attempt(make, what)


def message(error: BaseException) -> str:
    """What an exception says; to be called with `patience`."""
    return attempt(lambda: str(error), "its message")


def notes(error: BaseException) -> list[str]:
    """What was noted at an exception (PEP 678); to be called with `patience`."""
    found: list[object] = []

    def collect() -> str:
        given = getattr(error, "__notes__", ())
        found.extend(given[:_NOTES_MAX] if type(given) is list else ())
        return ""

    attempt(collect, "")
    return [attempt(partial(str, note), "a note") for note in found]


def traceback_of(error: BaseException) -> TracebackType | None:
    """The real one: a class may have an attribute of this name."""
    found: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    return found


def forget_traceback(error: BaseException) -> None:
    """Let go of everything that the functions held in which it was raised."""
    BaseException.with_traceback(error, None)


def value(thing: object) -> str:
    """A value as Python writes it; a huge integer by its size."""
    if type(thing) is int and thing.bit_length() > _BITS_MAX:
        return f"an integer of {thing.bit_length()} bits"
    text = attempt(lambda: repr(thing), "its repr()")
    return text if len(text) <= 100 else text[:97] + "..."


def plain(thing: Any, depth: int = 3) -> Any:
    """The same of what JSON has a type for, other objects by their text."""
    type_ = type(thing)
    if thing is None or type_ is bool or (type_ is float and thing - thing == 0):
        return thing
    if type_ is int and thing.bit_length() <= 63:
        return thing
    if issubclass(type_, str):
        return exact(thing)
    if type_ is dict and depth:
        return {exact(name): plain(one, depth - 1) for name, one in thing.items()}
    if type_ in (list, tuple) and depth:
        return [plain(one, depth - 1) for one in thing]
    return value(thing)


def _interruptible(make: Callable[[], object]) -> object:
    """What `make` returns; on the stack, this says that other people's code is running."""
    return make()


REGION: CodeType = _interruptible.__code__
"""An interrupt may raise while this is on the stack, and nowhere else here."""


@dataclass
class Clock:
    """The time that other people's code is given."""

    until_s: float

    @property
    def over(self) -> bool:
        """Is it over?"""
        return time.monotonic() > self.until_s


@contextmanager
def patience() -> Iterator[Clock]:
    """Inside, what `attempt` calls is interrupted when all of it takes too long.

    In the main thread only: others cannot be interrupted.
    """
    clock = Clock(time.monotonic() + PATIENCE_S)
    if threading.current_thread() is not threading.main_thread():
        yield clock
        return
    before = signal.signal(signal.SIGALRM, interrupt)
    # Again and again: one of them may be caught on its way up.
    outer = signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, _AGAIN_S)
    try:
        yield clock
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def interrupt(number: int, frame: FrameType | None) -> None:
    """End what `attempt` has called."""
    while frame is not None:
        if frame.f_code is REGION:
            raise PolicyTookTooLongError
        frame = frame.f_back
