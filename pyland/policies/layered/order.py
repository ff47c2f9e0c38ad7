# SPDX-License-Identifier: GPL-2.0-only
"""The order of the tasks of layers that name no policy: by virtual time, a line for each layer."""

from __future__ import annotations

from collections.abc import Iterable

from pyland.policies.layered.layers import Layer

# V starts here, so that a state of 0 means "no state yet".
_ORIGIN_NS = 1 << 36
_NEAR_NS = 10_000_000_000
"""How far apart the keys of two layers may be."""


class Line:
    """The order of the tasks of one layer, or of all Open layers, which share CPUs."""

    __slots__ = ("offset_ns", "vtime_now")

    def __init__(self) -> None:
        """No task has run yet."""
        self.vtime_now = _ORIGIN_NS
        """V: the highest virtual time with which a task of it has run."""
        self.offset_ns = 0
        """A key is a virtual time plus this, because V is slower where more tasks share a CPU."""


class Rules:
    """What the hot path needs of one layer."""

    __slots__ = ("debt_ns", "fifo", "line", "min_exec_ns", "slice_ns")

    def __init__(self, layer: Layer, line: Line, slice_us: int, longest_ns: int) -> None:
        """`slice_us` is that of layers which name none; `longest_ns` the longest of others."""
        self.line = line
        self.fifo = layer.options.fifo
        self.min_exec_ns = layer.options.min_exec_us * 1000
        self.slice_ns = (layer.options.slice_us or slice_us) * 1000
        self.debt_ns = max(self.slice_ns, longest_ns)
        """A task uses more than this only while no other task waits: that is no debt."""


def keep_near(lines: Iterable[Line], newest_ns: int = 0, near_ns: int = _NEAR_NS) -> int:
    """Move the keys of a line that has fallen far behind up to those of the other lines.

    A CPU compares keys of several lines if a task of another layer is bound to it, and the machine
    takes keys only within some minutes of one another. A line moves seldom. Its tasks that are
    queued then keep their keys, and run before the tasks that come after the move.

    `newest_ns` is the newest key of tasks that are in no line, 0 if there is none. Returns the
    newest key of all.
    """
    lines = list(lines)
    front_ns = max(newest_ns, *(line.vtime_now + line.offset_ns for line in lines))
    for line in lines:
        behind_ns = front_ns - line.vtime_now - line.offset_ns
        if behind_ns > near_ns:
            line.offset_ns += behind_ns
    return front_ns
