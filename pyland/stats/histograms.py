# SPDX-License-Identifier: GPL-2.0-only
"""Reads the histograms that BPF keeps, and tells BPF which ones are wanted.

BPF never sets a number back. A reader takes the numbers when it begins and those when it ends, and
subtracts; so any number of readers can look at different times.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from operator import sub
from typing import Any, NamedTuple

from pyland._native import ffi, lib
from pyland.stats.distribution import MEASURES, NR_BUCKETS, By, Distribution

WATCHERS_MAX = 16
"""The most clients that look at histograms at once: each costs 170 KB."""

_NR_NUMBERS = len(MEASURES) * (NR_BUCKETS + 1)
_CPU = struct.Struct(f"{_NR_NUMBERS}Q24x")
_SLOT = struct.Struct(f"=Q16s{_NR_NUMBERS}Q")
_NR_SLOTS: int = lib.PYLAND_NR_SLOTS + 1
_EPOCH_MAX = 0xFFFF
_KINDS = tuple(By)
OTHERS = "(others)"
"""The keys that found no slot, together."""
QUEUES = {"THROTTLED": 1 << 23, "DOMAIN": 1 << 22, "HOLDING": 1 << 21, "SCHED": 1 << 20, "CPU": 0}
"""The first number of each kind of queue (bpf/queue_ids.h), the highest number first."""
_QUEUE_NAMES = {
    "THROTTLED": "throttled",
    "DOMAIN": "domain",
    "HOLDING": "held, LLC",
    "SCHED": "user space",
    "CPU": "CPU",
}

Kept = Mapping[str, Distribution]
"""A histogram for each measure, by its name."""


class Reading(NamedTuple):
    """All numbers of one moment, to subtract from those of a later one."""

    totals: Sequence[int]
    slots: bytes = b""
    """The slots of one kind of keys; empty if no key was asked for."""


class Histograms:
    """The histograms in memory that BPF writes."""

    def __init__(self, state: Any, always: bool = False) -> None:
        """`state` is the state that root maps; with `always`, those for metrics are kept."""
        self._watch = state.watch
        size = ffi.sizeof("struct pyland_cpu_histograms")
        self._cpus = ffi.buffer(state.histograms, size * state.nr_cpus)
        self._slots = ffi.buffer(state.slots, _SLOT.size * _NR_SLOTS * len(_KINDS))
        self.always = always
        """True if the histograms by class are always kept."""
        self._watchers: list[By | None] = []

    def begin(self) -> None:
        """Begin without watchers: take back what an earlier process wished for."""
        before = self._watch.wanted
        self._watch.wanted = before & self._base()
        self._wish()

    def add_watcher(self, by: By | None) -> None:
        """Keep all histograms, and those for each key of a kind, until `remove_watcher`.

        Raises ValueError if there are too many watchers.
        """
        if len(self._watchers) >= WATCHERS_MAX:
            raise ValueError(f"{WATCHERS_MAX} clients look at histograms already: try again later")
        self._watchers.append(by)
        self._wish()

    def remove_watcher(self, by: By | None) -> None:
        """One watcher of this kind has left."""
        self._watchers.remove(by)
        self._wish()

    def read(self, by: By | None = None) -> Reading:
        """The numbers of this moment."""
        columns = zip(*_CPU.iter_unpack(bytes(self._cpus)), strict=True)
        slots = b""
        if by is not None:
            size = _SLOT.size * _NR_SLOTS
            begin = _KINDS.index(by) * size
            slots = bytes(self._slots[begin : begin + size])
        return Reading([*map(sum, columns)], slots)

    def keys(
        self, by: By, now: Reading, before: Reading | None = None
    ) -> Iterator[tuple[bytes | None, Kept]]:
        """What the histograms of each key have grown; the key None is that of all other keys.

        A key is 16 bytes: a number, or a name with zeros behind it. Keys without values are left
        out.
        """
        epoch = self._watch.epochs[_KINDS.index(by)]
        for number in range(_NR_SLOTS):
            hashed, name, *values = _SLOT.unpack_from(now.slots, number * _SLOT.size)
            others = number == _NR_SLOTS - 1
            if not others and hashed & _EPOCH_MAX != epoch:
                continue
            if before is not None and before.slots:
                _, _, *old = _SLOT.unpack_from(before.slots, number * _SLOT.size)
                values = [*map(sub, values, old)]
            if any(values):
                yield None if others else name, _distributions(values)

    def _base(self) -> int:
        return lib.PYLAND_WATCH_TOTAL | _bit(By.CLASS) if self.always else 0

    def _wish(self) -> None:
        """Write what the watchers want. A kind that is new to them begins with free slots."""
        wanted = self._base()
        for by in self._watchers:
            wanted |= lib.PYLAND_WATCH_TOTAL | (_bit(by) if by else 0)
        for number, by in enumerate(_KINDS):
            if wanted & ~self._watch.wanted & _bit(by):
                self._watch.epochs[number] = self._watch.epochs[number] % _EPOCH_MAX + 1
        self._watch.wanted = wanted


def total(now: Reading, before: Reading) -> Kept:
    """What the histograms of all tasks have grown."""
    return _distributions([*map(sub, now.totals, before.totals)])


def shown_key(by: By, key: bytes | None, classes: Mapping[int, str]) -> str:
    """A key in words; `OTHERS` for None. A name is as the task has it: it is not escaped.

    A cgroup is its number.
    """
    if key is None:
        return OTHERS
    if by is By.COMM:
        return key.partition(b"\0")[0].decode(errors="backslashreplace")
    number = int.from_bytes(key[:8], sys.byteorder)
    if by is By.CLASS:
        return classes.get(number, str(number))
    return _queue(number) if by is By.QUEUE else str(number)


def _queue(number: int) -> str:
    for special, name in (
        (lib.PYLAND_QUEUE_IDLE, "none: a CPU was idle"),
        (lib.PYLAND_QUEUE_NEXT, "none: next on its CPU"),
    ):
        if number == special % (1 << 64):
            return name
    kind, base = next((kind, base) for kind, base in QUEUES.items() if number >= base)
    return f"{_QUEUE_NAMES[kind]} {number - base}"


def _bit(by: By) -> int:
    return 2 << _KINDS.index(by)


def _distributions(values: Sequence[int]) -> Kept:
    width = NR_BUCKETS + 1
    return {
        measure.name: Distribution(
            max(values[at], 0), [max(one, 0) for one in values[at + 1 : at + width]]
        )
        for measure, at in zip(MEASURES, range(0, _NR_NUMBERS, width), strict=True)
    }
