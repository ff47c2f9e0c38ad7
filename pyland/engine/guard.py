# SPDX-License-Identifier: GPL-2.0-only
"""What a policy does wrong: found, told once, and in the end not tolerated."""

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

from pyland.engine import finalizers
from pyland.engine.frames import TRANSPORT, policy_calls
from pyland.engine.loop import DispatchLoop
from pyland.output import telling
from pyland.output.printing import escape
from pyland.output.telling import PolicyTookTooLongError as PolicyTookTooLongError
from pyland.policy import DECISION_FIELDS

FAILURES_MAX = 10
"""So many failures within `WINDOW_S` seconds, and the policy is replaced by `deadline`."""
WINDOW_S = 10.0
TOLD_MAX = 100
"""So many different failures of one policy are told."""
TOO_LONG_COUNTS = 5
"""A call that took too long counts as so many failures: it takes a second and more each time."""

TOO_LONG_S = 1.0
"""A call of the policy that takes more CPU time than this, or sleeps as long, is interrupted."""

INTERRUPT = signal.SIGUSR1
"""What the supervising process sends for that."""

_RECURSION = 1000
"""Python's own limit: what is told of a policy must not need less because the policy did."""

SWAP_TOO_LONG_S = 10.0
"""So long may the import and the constructor of a policy take that is swapped in."""

_Made = TypeVar("_Made")


class Failures:
    """The failures of one policy."""

    def __init__(self) -> None:
        """None so far."""
        self.count = 0
        self._times_s: collections.deque[float] = collections.deque(maxlen=FAILURES_MAX)
        self._told: set[tuple[str, int, str]] = set()

    def note(self, error: BaseException, now_s: float) -> str:
        """Count one; the report of it, empty when the same was reported before."""
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
        """Is it time for another policy?"""
        times_s = self._times_s
        return len(times_s) == FAILURES_MAX and times_s[-1] - times_s[0] <= WINDOW_S


def describe(error: BaseException) -> str:
    """One line: the method, what it raised, and the task if it is known; never raises."""
    with telling.patience():
        return _describe(error)


def said(error: BaseException) -> str:
    """What it says of itself; never raises."""
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
    """Which decision cannot be sent, when it was the loop that failed to pack it."""
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
    """What is wrong with a flat list of decisions, in one line; empty when nothing is."""
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
            except BaseException:  # noqa: BLE001 - what knows to be an integer may raise anything
                takes = "a 32-bit integer" if code == "i" else "an integer from 0 to 2**64 - 1"
                task, found = telling.value(row[1]), telling.value(value)
                return f"the decision for task {task} has {name} = {found}: it takes {takes}"
    return ""


def interrupt_policies() -> None:
    """Let `INTERRUPT` end a call of the policy that takes too long, wherever it is."""
    signal.signal(INTERRUPT, _interrupt)
    finalizers.interrupt_what_calls_them()
    # A policy that forks would leave a second process at the same rings.
    os.register_at_fork(after_in_child=lambda: os._exit(1))


def making_a_policy(make: Callable[[], _Made]) -> _Made:
    """What `make` returns; an `INTERRUPT` ends it when it has had `SWAP_TOO_LONG_S`.

    For the import and the constructor of a policy while another one schedules.
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
        # A finalizer of the policy's runs wherever its object goes.
        if finalizers.is_one(above) or above.f_code in (DispatchLoop.run.__code__, telling.REGION):
            raise PolicyTookTooLongError(f"it took longer than {TOO_LONG_S:g} s")
        if above.f_code is making_a_policy.__code__:
            if time.monotonic() > above.f_locals.get("until_s", math.inf):
                raise PolicyTookTooLongError(f"it took longer than {SWAP_TOO_LONG_S:g} s")
            return
        above = above.f_back
