# SPDX-License-Identifier: GPL-2.0-only
"""The hardware's counters by the policy's class: `pyland latency --hardware`.

This is a command of root beside the running pyland. A BPF program of its own reads counters at
one of so many switches, so the scheduler does nothing for it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyland import _native
from pyland._native import ffi, lib
from pyland.errors import UsageError
from pyland.output.printing import as_json, escape
from pyland.stats.client import Client, NoServerError

EVERY = 100
"""One of so many switches of a CPU begins a sample: a run of a task."""
_OBJECT = Path(_native.__file__).with_name("hardware.bpf.o")
_TYPE_HARDWARE, _TYPE_CACHE = 0, 3
_LLC_READ_MISSES = 2 | 0 << 8 | 1 << 16
Event = tuple[int, int]
EVENTS: Sequence[Event] = (
    (_TYPE_HARDWARE, 0),
    (_TYPE_HARDWARE, 1),
    (_TYPE_CACHE, _LLC_READ_MISSES),
)
"""Cycles, instructions and misses of the last-level cache: type and number of perf_event_open."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The sums of a class's samples; None for an event that the machine does not count."""

    samples: int = 0
    cycles: int | None = None
    instructions: int | None = None
    llc_misses: int | None = None

    @property
    def instructions_per_cycle(self) -> float | None:
        """None without both numbers, or without a cycle."""
        if self.instructions is None or not self.cycles:
            return None
        return self.instructions / self.cycles

    @property
    def misses_per_1000(self) -> float | None:
        """Misses of the last-level cache for each 1000 instructions; None as above."""
        if self.llc_misses is None or not self.instructions:
            return None
        return 1000 * self.llc_misses / self.instructions


class Hardware:
    """The counters, from the first moment to `close`."""

    def __init__(
        self,
        nr_cpus: int,
        *,
        every: int = EVERY,
        events: Sequence[Event] = EVENTS,
        by_class: bool = True,
    ) -> None:
        """Begin to count; raises UsageError where that cannot be, or counts nothing.

        Without `by_class` all samples are of class 0, and no pyland has to run.
        """
        program = _OBJECT.read_bytes()
        wanted = ffi.new("struct pyland_hardware_event[]", lib.PYLAND_HARDWARE_EVENTS)
        for one, (kind, number) in zip(wanted, events, strict=True):
            one.type, one.config = kind, number
        self._c: Any = lib.pyland_hardware_begin(
            ffi.from_buffer(program), len(program), nr_cpus, wanted, every, by_class
        )
        if not self._c:
            raise UsageError(ffi.string(lib.pyland_error()).decode(errors="replace"))
        self._known = lib.pyland_hardware_events(self._c)

    def close(self) -> None:
        """End it; nothing of it stays in the kernel."""
        lib.pyland_hardware_end(self._c)
        self._c = ffi.NULL

    @property
    def dropped(self) -> int:
        """Samples that do not count: the CPU counted for other programs meanwhile."""
        return int(lib.pyland_hardware_dropped(self._c))

    def read(self) -> dict[int, Counted]:
        """The classes that have samples, by their numbers."""
        found = {}
        one = ffi.new("struct pyland_hardware_sum *")
        for number in range(lib.PYLAND_HARDWARE_CLASSES):
            lib.pyland_hardware_read(self._c, number, one)
            if one.samples:
                counts = (
                    one.counts[event] if self._known >> event & 1 else None
                    for event in range(lib.PYLAND_HARDWARE_EVENTS)
                )
                found[number] = Counted(one.samples, *counts)
        return found


def class_names(path: Path) -> dict[int, str]:
    """The names of the policy's classes by number, if a server at `path` tells them."""
    with suppress(NoServerError, UsageError), Client(path, timeout_s=2) as client:
        found = client.request("stats", target="classes")
        if isinstance(found, dict):
            return {
                int(number): name
                for number, name in found.items()
                if number.isdecimal() and len(number) < 3 and isinstance(name, str)
            }
    return {}


def look(nr_cpus: int, seconds: float, names: Mapping[int, str], *, json: bool = False) -> str:
    """Count for the time, or until Ctrl-C, and return the text; raises UsageError."""
    hardware = Hardware(nr_cpus)
    try:
        begin_s = time.monotonic()
        with suppress(KeyboardInterrupt):
            time.sleep(seconds)
        passed_s = time.monotonic() - begin_s
        found, dropped = hardware.read(), hardware.dropped
    finally:
        hardware.close()
    named = {names.get(number, f"class {number}"): one for number, one in found.items()}
    return told_json(named, passed_s, dropped) if json else told(named, dropped)


def told(found: Mapping[str, Counted], dropped: int = 0) -> str:
    """A row for each class; those that the machine does not count are dashes."""
    title = f"{'class':<24} {'samples':>8} {'cycles':>14} {'instructions':>14} {'IPC':>6} "
    lines = [f"{title}{'LLC misses':>12} {'per 1000':>9}"]
    for name, one in found.items():
        numbers = (one.cycles, one.instructions)
        cycles, instructions = ("-" if number is None else f"{number}" for number in numbers)
        misses = "-" if one.llc_misses is None else f"{one.llc_misses}"
        lines.append(
            f"{escape(name):<24} {one.samples:>8} {cycles:>14} {instructions:>14} "
            f"{_part(one.instructions_per_cycle):>6} {misses:>12} {_part(one.misses_per_1000):>9}"
        )
    if len(lines) == 1:
        return "no task ran in this time"
    if dropped:
        lines.append(f"{dropped} samples do not count: another program had the counters meanwhile")
    return "\n".join(lines)


def told_json(found: Mapping[str, Counted], seconds: float, dropped: int) -> str:
    """The rows of `told` as JSON, for programs."""
    classes = [
        {
            "class": escape(name),
            "samples": one.samples,
            "cycles": one.cycles,
            "instructions": one.instructions,
            "llc_misses": one.llc_misses,
        }
        for name, one in found.items()
    ]
    return as_json({"seconds": round(seconds, 3), "dropped": dropped, "classes": classes})


def _part(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
