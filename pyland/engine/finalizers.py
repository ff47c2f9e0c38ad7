# SPDX-License-Identifier: GPL-2.0-only
"""Finalizers of a policy that take too long: they run wherever their object goes.

Python drops what a finalizer raises, also the interrupt that ends it. So the method from
which it ran is interrupted as well, and where there is none, the next failure counts for it.
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
    """Is it a finalizer that runs in this frame?"""
    return frame.f_code.co_name == "__del__"


def overdue() -> bool:
    """Has one been interrupted that nothing was told of since?"""
    found = bool(_overdue)
    _overdue.clear()
    return found


def interrupt_what_calls_them() -> None:
    """From here on, what a finalizer raises is told in one line, and never takes for ever."""
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
            return  # it ran after its policy, and another one may schedule
        signal.signal(signal.SIGALRM, _interrupt_method)
        signal.setitimer(signal.ITIMER_REAL, _SOON_S)


def _interrupt_method(number: int, frame: FrameType | None) -> None:
    while frame is not None:
        if is_one(frame) or frame.f_code is _tell.__code__:
            # Still on the way out of it.
            signal.setitimer(signal.ITIMER_REAL, _SOON_S)
            return
        if frame.f_code is DispatchLoop.run.__code__:
            raise PolicyTookTooLongError("a finalizer of it took too long")
        frame = frame.f_back
