# SPDX-License-Identifier: GPL-2.0-only
"""Interrupts finalizers (`__del__`) of a policy that take too long.

A finalizer runs wherever the last reference to its object is dropped. Python drops each exception
that a finalizer raises, also the interrupt that ends it. So the policy's method in which the
finalizer ran is interrupted, too. If there is no such method, the policy's next failure counts as
a call that took too long.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

from pyland.engine.loop import DispatchLoop
from pyland.output import telling
from pyland.output.telling import PolicyTookTooLongError

_SOON_S = 0.005

_overdue: list[bool] = []


def is_one(frame: FrameType) -> bool:
    """True if a finalizer runs in this frame."""
    return frame.f_code.co_name == "__del__"


def overdue() -> bool:
    """True if a finalizer was interrupted after the last call of this function."""
    found = bool(_overdue)
    _overdue.clear()
    return found


def interrupt_what_calls_them() -> None:
    """Report what finalizers raise in one line; if one takes too long, end its caller, too."""
    sys.unraisablehook = _tell


def _tell(raised: sys.UnraisableHookArgs) -> None:
    if raised.exc_value is None:
        return
    error = raised.exc_value
    text = telling.told(lambda: str(error), "its message")
    print(f"a finalizer raised {telling.kind(error)}: {text}", file=sys.stderr)
    if telling.is_a(error, PolicyTookTooLongError):
        _overdue.append(True)
        frame: FrameType | None = sys._getframe()
        while frame is not None and frame.f_code is not DispatchLoop.run.__code__:
            frame = frame.f_back
        if frame is None:
            return  # outside of the policy's methods: another policy may schedule by then
        signal.signal(signal.SIGALRM, _interrupt_method)
        signal.setitimer(signal.ITIMER_REAL, _SOON_S)


def _interrupt_method(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if is_one(frame) or frame.f_code is _tell.__code__:
            # The finalizer has not ended yet: try again soon.
            signal.setitimer(signal.ITIMER_REAL, _SOON_S)
            return
        if frame.f_code is DispatchLoop.run.__code__:
            raise PolicyTookTooLongError("a finalizer of it took too long")
        frame = frame.f_back
