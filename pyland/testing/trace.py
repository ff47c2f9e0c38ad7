# SPDX-License-Identifier: GPL-2.0-only
"""What happened on an offline machine, to be compared or read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decided:
    """One decision of the policy, as the machine received it."""

    time_ns: int
    task: str
    pid: int
    cpu: int
    slice_ns: int
    vtime_ns: int
    state: int
    preempt: bool
    late: bool
    """The task had moved on, so the decision had no effect."""


class Trace:
    """All events in their order; `print` shows a line for each."""

    def __init__(self) -> None:
        """It begins without an event."""
        self._lines: list[tuple[int, str]] = []

    def note(self, time_ns: int, text: str) -> None:
        """Add a line."""
        self._lines.append((time_ns, text))

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __str__(self) -> str:
        return "\n".join(f"{time_ns / 1e6:12.3f} ms  {text}" for time_ns, text in self._lines)
