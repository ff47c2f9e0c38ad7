# SPDX-License-Identifier: GPL-2.0-only
"""Describes exceptions and objects of foreign code, that is, of policies.

Their `__str__` and `__repr__` may raise, loop or sleep; their class may give a false name.
The functions here do not raise in these cases, and end after `PATIENCE_S`.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

PATIENCE_S = 1.0
"""How long foreign code may take to describe itself."""
_AGAIN_S = 0.1
"""How long each further description may take after the first has used up that time."""
TEXT_MAX = 2000
"""Characters of one text; a longer text is cut."""
_NOTES_MAX = 10
_BITS_MAX = 128


class PolicyTookTooLongError(BaseException):
    """Raised inside a policy; an `except Exception` there does not catch it."""


def kind(error: object) -> str:
    """The name of an object's class, which a metaclass or `__class__` cannot forge."""
    name: object = type.__dict__["__name__"].__get__(type(error))
    return exact(name)


def is_a(error: object, *classes: type) -> bool:
    """The answer of isinstance, without asking the object."""
    return issubclass(type(error), classes)


def exact(text: object) -> str:
    """The text as a plain str, not of a derived class, cut to `TEXT_MAX`."""
    if not issubclass(type(text), str):
        return f"({kind(text)} instead of a text)"
    plain = str.__str__(text)
    return plain if len(plain) <= TEXT_MAX else plain[: TEXT_MAX - 3] + "..."


def attempt(make: Callable[[], object], what: str) -> str:
    """The text that `make` returns; if it fails, a text in brackets that says `what` failed.

    If `what` is empty, that text is empty, too.
    """
    try:
        return exact(_interruptible(make))
    except PolicyTookTooLongError:
        return f"({what} took longer than {PATIENCE_S:g} s)" if what else ""
    except BaseException as another:  # noqa: BLE001 - foreign code may raise anything
        return f"({what} raised {kind(another)})" if what else ""


def told(make: Callable[[], object], what: str) -> str:
    """`attempt` for a caller without a `patience` of its own."""
    with patience():
        return attempt(make, what)


def message(error: BaseException) -> str:
    """The message of an exception; to be called with `patience`."""
    return attempt(lambda: str(error), "its message")


def notes(error: BaseException) -> list[str]:
    """The notes of an exception (PEP 678); to be called with `patience`."""
    found: list[object] = []

    def collect() -> str:
        given = getattr(error, "__notes__", ())
        found.extend(given[:_NOTES_MAX] if type(given) is list else ())
        return ""

    attempt(collect, "")
    return [attempt(partial(str, note), "a note") for note in found]


def traceback_of(error: BaseException) -> TracebackType | None:
    """The real traceback: a class may have an attribute of this name."""
    found: TracebackType | None = BaseException.__dict__["__traceback__"].__get__(error)
    return found


def forget_traceback(error: BaseException) -> None:
    """Drop the traceback, and with it all objects that the functions in it refer to."""
    BaseException.with_traceback(error, None)


def value(thing: object) -> str:
    """A value as Python writes it; a huge integer by its size."""
    if type(thing) is int and thing.bit_length() > _BITS_MAX:
        return f"an integer of {thing.bit_length()} bits"
    text = attempt(lambda: repr(thing), "its repr()")
    return text if len(text) <= 100 else text[:97] + "..."


def plain(thing: Any, depth: int = 3) -> Any:
    """The object itself if JSON has a type for it, else its text."""
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
    """The result of `make`; its frame on the stack shows that foreign code is running."""
    return make()


REGION: CodeType = _interruptible.__code__
"""Only while this is on the stack, an interrupt may raise."""


class Clock(NamedTuple):
    """The time limit of foreign code."""

    until_s: float

    @property
    def over(self) -> bool:
        """True when the time is over."""
        return time.monotonic() > self.until_s


@contextmanager
def patience() -> Iterator[Clock]:
    """Interrupt the calls of `attempt` in this block when they take too long together.

    Only in the main thread: other threads cannot be interrupted.
    """
    clock = Clock(time.monotonic() + PATIENCE_S)
    if threading.current_thread() is not threading.main_thread():
        yield clock
        return
    before = signal.signal(signal.SIGALRM, interrupt)
    # The signal comes again and again: foreign code may catch one of the exceptions.
    outer = signal.setitimer(signal.ITIMER_REAL, PATIENCE_S, _AGAIN_S)
    try:
        yield clock
    finally:
        signal.setitimer(signal.ITIMER_REAL, *outer)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def interrupt(number: int, frame: FrameType | None) -> None:
    """End the call that `attempt` made."""
    while frame is not None:
        if frame.f_code is REGION:
            raise PolicyTookTooLongError
        frame = frame.f_back
