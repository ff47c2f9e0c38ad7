# SPDX-License-Identifier: GPL-2.0-only
"""Finds what a policy does wrong, reports each failure once, and says when there are too many."""

from __future__ import annotations

import collections
import math
import os
import signal
import struct
import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from pyland.compose import MENDING
from pyland.engine import finalizers
from pyland.engine.frames import TRANSPORT, policy_calls
from pyland.engine.loop import DispatchLoop
from pyland.output import telling
from pyland.output.printing import escape
from pyland.output.telling import PolicyTookTooLongError as PolicyTookTooLongError
from pyland.policy import DECISION_FIELDS

FAILURES_MAX = 10
"""After this many failures within `WINDOW_S` seconds, `deadline` replaces the policy."""
WINDOW_S = 10.0
TOLD_MAX = 100
"""The most different failures of one policy that are reported."""
TOO_LONG_COUNTS = 5
"""A call that took too long counts as this many failures: each takes a second or more."""

TOO_LONG_S = 1.0
"""Seconds of CPU time, or asleep, after which a call of the policy is interrupted."""

INTERRUPT = signal.SIGUSR1
"""The signal that the supervisor sends to interrupt a call."""

_RECURSION = 1000
"""Python's default limit; a report needs it even if the policy has set a lower one."""

SWAP_TOO_LONG_S = 10.0
"""Seconds that the import and the constructor of a policy may take in a swap."""

_Made = TypeVar("_Made")


class Failures:
    """The failures of one policy."""

    def __init__(self) -> None:
        """Starts without a failure."""
        self.count = 0
        self._times_s: collections.deque[float] = collections.deque(maxlen=FAILURES_MAX)
        self._told: set[tuple[str, int, str]] = set()

    def note(self, error: BaseException, now_s: float) -> str:
        """Count a failure; returns its report, empty if the same failure was reported before."""
        self.count += 1
        if sys.getrecursionlimit() < _RECURSION:
            sys.setrecursionlimit(_RECURSION)
        calls = policy_calls(error)
        key = (*calls.place, telling.kind(error))
        if key in self._told or len(self._told) >= TOLD_MAX:
            report, in_time = "", True
        else:
            self._told.add(key)
            with telling.patience() as clock:
                report = "\n".join([_describe(error), *map(escape, calls.lines())])
            in_time = not clock.over
        too_long = [telling.is_a(error, PolicyTookTooLongError), not in_time, finalizers.overdue()]
        self._times_s.extend([now_s] * (TOO_LONG_COUNTS if any(too_long) else 1))
        return report

    @property
    def too_many(self) -> bool:
        """True if `FAILURES_MAX` failures came within `WINDOW_S` seconds."""
        times_s = self._times_s
        return len(times_s) == FAILURES_MAX and times_s[-1] - times_s[0] <= WINDOW_S


def describe(error: BaseException) -> str:
    """One line with the method, the exception, and the task if it is known; never raises."""
    with telling.patience():
        return _describe(error)


def said(error: BaseException) -> str:
    """The message of the exception; never raises."""
    return telling.told(lambda: str(error), "its message")


def _describe(error: BaseException) -> str:
    unsendable = telling.is_a(error, TypeError, ValueError, OverflowError)
    if unsendable and (wrong := telling.attempt(lambda: _wrong_decision(error), "")):
        return escape(wrong)
    method = policy_calls(error).method
    text = f"{telling.kind(error)}: {telling.message(error)}"
    told = [text.rstrip(": "), *telling.notes(error)]
    return escape(f"{f'{method}()' if method else 'the policy'} raised {', '.join(told)}")


def _wrong_decision(error: BaseException) -> str:
    """The decision that the loop could not pack, in one line; empty for other exceptions."""
    for frame, _ in traceback.walk_tb(telling.traceback_of(error)):
        flat = None
        if frame.f_code is DispatchLoop.run.__code__:
            flat = frame.f_locals["self"].refused
        elif frame.f_code is DispatchLoop._place.__code__:
            flat = frame.f_locals.get("flat")
        if isinstance(flat, list | tuple) and (wrong := find_wrong(flat)):
            return wrong
    return ""


def find_wrong(flat: Any) -> str:
    """What is wrong in a flat list of decisions, in one line; empty if all are right."""
    width = len(DECISION_FIELDS)
    if len(flat) % width:
        return f"decide() returned {len(flat)} numbers: it takes {width} for each decision"
    formats = {"pid": "i", "cpu": "i"}
    for at in range(0, len(flat), width):
        row = flat[at : at + width]
        for name, value in zip(DECISION_FIELDS, row, strict=True):
            code = formats.get(name, "Q")
            try:
                struct.pack(f"={code}", value)
            except PolicyTookTooLongError:
                raise
            except BaseException:  # noqa: BLE001 - __index__ of an object may raise anything
                takes = "a 32-bit integer" if code == "i" else "an integer from 0 to 2**64 - 1"
                task, found = telling.value(row[1]), telling.value(value)
                return f"the decision for task {task} has {name} = {found}: it takes {takes}"
    return ""


def interrupt_policies() -> None:
    """From here on, `INTERRUPT` ends the running call of the policy at any place in it."""
    signal.signal(INTERRUPT, _interrupt)
    finalizers.interrupt_what_calls_them()
    # If a policy forks, two processes would use the same rings: the child ends at once.
    os.register_at_fork(after_in_child=lambda: os._exit(1))


def making_a_policy(make: Callable[[], _Made]) -> _Made:
    """The result of `make`; an `INTERRUPT` after `SWAP_TOO_LONG_S` seconds ends the call.

    For the import and the constructor of a policy in the process that schedules. Raises what
    `make` raises, and PolicyTookTooLongError.
    """
    until_s = time.monotonic() + SWAP_TOO_LONG_S  # read by _interrupt, from this frame
    made = make()
    del until_s
    return made


def _interrupt(number: int, frame: FrameType | None) -> None:
    if frame is None or frame.f_code in TRANSPORT:
        return
    above: FrameType | None = frame
    while above is not None:
        # A finalizer of the policy can also run outside of the policy's methods.
        if finalizers.is_one(above) or above.f_code in (DispatchLoop.run.__code__, telling.REGION):
            raise PolicyTookTooLongError(f"it took longer than {TOO_LONG_S:g} s")
        if above.f_code in MENDING:
            return
        if above.f_code is making_a_policy.__code__:
            if time.monotonic() > above.f_locals.get("until_s", math.inf):
                raise PolicyTookTooLongError(f"it took longer than {SWAP_TOO_LONG_S:g} s")
            return
        above = above.f_back
