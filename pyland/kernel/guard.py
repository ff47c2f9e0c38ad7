# SPDX-License-Identifier: GPL-2.0-only
"""What a policy does wrong: found, told once, and in the end not tolerated."""

from __future__ import annotations

import collections
import os
import signal
import struct
import traceback
from types import CodeType, FrameType, TracebackType
from typing import Any

from pyland.kernel.loop import DispatchLoop
from pyland.policy import DECISION_FIELDS

FAILURES_MAX = 10
"""So many failures within `WINDOW_S` seconds, and the policy is replaced by `deadline`."""
WINDOW_S = 10.0
TOO_LONG_COUNTS = 5
"""A call that took too long counts as so many failures: it takes a second and more each time."""

TOO_LONG_S = 1.0
"""A call of the policy that takes more CPU time than this, or sleeps as long, is interrupted."""

INTERRUPT = signal.SIGUSR1
"""What the supervising process sends for that."""

_TRANSPORT: frozenset[CodeType] = frozenset(
    method.__code__
    for method in (DispatchLoop.run, DispatchLoop._rows, DispatchLoop._place, DispatchLoop._tell)
)


class PolicyTookTooLongError(BaseException):
    """Raised inside a policy; no `except Exception` of its own keeps it."""


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
        took_too_long = isinstance(error, PolicyTookTooLongError)
        self._times_s.extend([now_s] * (TOO_LONG_COUNTS if took_too_long else 1))
        frames = _policy_frames(error.__traceback__)
        last = frames[-1] if frames else traceback.FrameSummary("?", 0, "?")
        key = (last.filename, last.lineno or 0, type(error).__name__)
        if key in self._told:
            return ""
        self._told.add(key)
        return "\n".join([describe(error), *(line.rstrip() for line in _lines(error))])

    @property
    def too_many(self) -> bool:
        """Is it time for another policy?"""
        times_s = self._times_s
        return len(times_s) == FAILURES_MAX and times_s[-1] - times_s[0] <= WINDOW_S


def describe(error: BaseException) -> str:
    """One line: the method, what it raised, and the task if it is known."""
    unsendable = isinstance(error, TypeError | ValueError | OverflowError)
    if unsendable and (wrong := _wrong_decision(error)):
        return wrong
    frames = _policy_frames(error.__traceback__)
    method = f"{frames[0].name}()" if frames else "the policy"
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    notes = ", ".join(getattr(error, "__notes__", ()))
    return f"{method} raised {text}" + (f", {notes}" if notes else "")


def _policy_frames(where: TracebackType | None) -> list[traceback.FrameSummary]:
    """The frames from the policy's method on; none when the loop itself raised."""
    walked = list(traceback.walk_tb(where))
    inside = [index for index, (frame, _) in enumerate(walked) if frame.f_code in _TRANSPORT]
    start = inside[-1] + 1 if inside else 0
    kept = walked[start:]
    # The default decide() only hands on to enqueue().
    if len(kept) > 1 and kept[0][0].f_code.co_filename.endswith("pyland/policy.py"):
        kept = kept[1:]
    return list(traceback.StackSummary.extract(iter(kept)))


def _lines(error: BaseException) -> list[str]:
    return traceback.format_list(_policy_frames(error.__traceback__))


def _wrong_decision(error: BaseException) -> str:
    """Which decision cannot be sent, when it was the loop that failed to pack it."""
    for frame, _ in traceback.walk_tb(error.__traceback__):
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
            except Exception:  # noqa: BLE001 - what knows to be an integer may raise anything
                takes = "a 32-bit integer" if code == "i" else "an integer from 0 to 2**64 - 1"
                return f"the decision for task {row[1]!r} has {name} = {value!r}: it takes {takes}"
    return ""


def interrupt_policies() -> None:
    """Let `INTERRUPT` end a call of the policy that takes too long, wherever it is."""
    signal.signal(INTERRUPT, _interrupt)
    # A policy that forks would leave a second process at the same rings.
    os.register_at_fork(after_in_child=lambda: os._exit(1))


def _interrupt(number: int, frame: FrameType | None) -> None:
    if frame is None or frame.f_code in _TRANSPORT:
        return
    above: FrameType | None = frame
    while above is not None:
        if above.f_code is DispatchLoop.run.__code__:
            raise PolicyTookTooLongError(f"it took longer than {TOO_LONG_S:g} s")
        above = above.f_back
