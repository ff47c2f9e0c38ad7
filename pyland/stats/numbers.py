# SPDX-License-Identifier: GPL-2.0-only
"""A policy's own gauges, counters and classes: written by the policy, read by root's processes.

They travel in four pages of memory, which the policy's notes about tasks follow (`notes`). The
policy can write anything there, so the reader checks each name, limits each number, and leaves out
all that is wrong.
"""

from __future__ import annotations

import math
import re
import struct
import sys
from collections.abc import Mapping
from mmap import mmap
from types import MappingProxyType
from typing import NamedTuple

from pyland.decision import NR_CLASSES
from pyland.stats import notes
from pyland.stats.notes import Note, PolicyNotes, SavedNotes

_CELL = 64
"""Bytes of a number: its value, its kind and its name."""
NAMES_MAX = 255
"""The most numbers of a policy; further names are left out, and counted."""
_OF_NUMBERS = _CELL * (1 + NAMES_MAX)
"""Bytes of the numbers: four pages, which begin with a header."""
SIZE = _OF_NUMBERS + notes.SIZE
"""Bytes of the memory: the numbers, and the notes."""
NAME_MAX = 40
COUNT_MAX = (1 << 63) - 1
GAUGE_MAX = float(1 << 63)
"""The largest gauge; the lowest is its negative."""

_GAUGE, _COUNT, _CLASS = 1, 2, 3
_NOWHERE = 1  # a word of the header that is not read
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_ENTRY = struct.Struct("8sQ48s")


class Saved(NamedTuple):
    """What a `PolicyNumbers` had, for `restore`."""

    memory: bytes
    gauges: Mapping[str, int]
    counts: Mapping[str, int]
    classes: Mapping[int, int]
    notes: SavedNotes


class PolicyNumbers:
    """The policy's side. No method makes a system call."""

    def __init__(self, memory: mmap | bytearray | None = None) -> None:
        """All is cleared; `memory` has `SIZE` bytes, and without it the numbers are private."""
        self._use(memory if memory is not None else bytearray(SIZE))
        self.clear()

    def _use(self, memory: mmap | bytearray) -> None:
        whole = self._whole = memoryview(memory)[:SIZE]
        self._bytes = whole[:_OF_NUMBERS]
        self.notes = PolicyNotes(whole[_OF_NUMBERS:])
        # A word is written by one instruction, so the reader sees the old value or the new one.
        self._floats, self._ints = self._bytes.cast("d"), self._bytes.cast("q")
        self._gauges: dict[str, int] = {}
        self._counts: dict[str, int] = {}
        self._classes: dict[int, int] = {}

    def gauge(self, name: str, value: float) -> None:
        """Set a gauge; see `Machine.gauge`."""
        place = self._gauges.get(name)
        if place is None:
            place = self._take(name, _GAUGE, self._gauges, self._counts)
        try:
            self._floats[place] = value
        except (OverflowError, ValueError):  # an int that no float can hold
            self._floats[place] = math.copysign(GAUGE_MAX, 1 if value > 0 else -1)

    def count(self, name: str, by: int) -> None:
        """Add to a counter; see `Machine.count`."""
        if by < 0:
            raise ValueError(f"count({name!r}, {by}): a counter only grows")
        place = self._counts.get(name)
        if place is None:
            place = self._take(name, _COUNT, self._counts, self._gauges)
        try:
            self._ints[place] += by
        except ValueError:  # more than the word holds
            self._ints[place] = COUNT_MAX

    def name_class(self, number: int, name: str) -> None:
        """Name a class of tasks; see `Machine.name_class`."""
        if not 0 <= number < NR_CLASSES:
            raise ValueError(f"class {number}: there are 0 to {NR_CLASSES - 1}")
        _check_name(name)
        place = self._classes.get(number)
        if place is None:
            place = self._place(name, _CLASS)
            if place != _NOWHERE:
                self._classes[number] = place
        else:
            self._write_name(place, name)
        self._ints[place] = number

    def clear(self) -> None:
        """Forget all names: another policy begins."""
        self._bytes[:] = bytes(_OF_NUMBERS)
        self.notes.clear()
        self._gauges.clear()
        self._counts.clear()
        self._classes.clear()

    def save(self) -> Saved:
        """All names and numbers."""
        return Saved(
            bytes(self._bytes),
            dict(self._gauges),
            dict(self._counts),
            dict(self._classes),
            self.notes.save(),
        )

    def restore(self, saved: Saved) -> None:
        """Set what `save` returned."""
        self._bytes[:] = saved.memory
        self._gauges, self._counts = dict(saved.gauges), dict(saved.counts)
        self._classes = dict(saved.classes)
        self.notes.restore(saved.notes)

    def leave_memory(self) -> None:
        """Write to memory of its own from here on: the other belongs to another policy."""
        self._use(bytearray(SIZE))

    def note(self, pid: int, text: str, time_ns: int) -> None:
        """Note a text about a task; see `Machine.note`."""
        if not 0 < pid <= notes.PID_MAX:
            raise ValueError(f"note({pid}, ...): a task has a number from 1 to {notes.PID_MAX}")
        self.notes.set(pid, text, time_ns)

    def read(self) -> Numbers:
        """What a reader in another process would see."""
        return read(self._bytes)

    def read_notes(self) -> list[Note]:
        """The notes that a reader in another process would see."""
        return read_notes(self._whole)

    def _take(self, name: str, kind: int, mine: dict[str, int], others: dict[str, int]) -> int:
        """The word for a new name; raises ValueError for a name that can never be shown."""
        _check_name(name)
        if name in others:
            raise ValueError(f"{name!r} is a gauge and a counter: it can be only one")
        place = self._place(name, kind)
        if place != _NOWHERE:
            mine[name] = place
        return place

    def _place(self, name: str, kind: int) -> int:
        """The word of a number that has no place yet; `_NOWHERE` if there is no room."""
        used = len(self._gauges) + len(self._counts) + len(self._classes)
        if used >= NAMES_MAX:
            self._ints[0] += 1
            return _NOWHERE
        begin = _CELL * (1 + used)
        # The name last: before it is there, the reader skips the number.
        self._bytes[begin : begin + 16] = struct.pack("8xQ", kind)
        self._write_name(begin // 8, name)
        return begin // 8

    def _write_name(self, place: int, name: str) -> None:
        begin = place * 8 + 16
        self._bytes[begin : begin + _CELL - 16] = name.encode().ljust(_CELL - 16, b"\0")


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > NAME_MAX:
        raise ValueError(
            f"{name!r} names no number: it takes a to z, 0 to 9 and _, begins with a letter, "
            f"and has at most {NAME_MAX} characters"
        )


class Numbers(NamedTuple):
    """A policy's numbers as they were read."""

    gauges: Mapping[str, float]
    """Each finite, and within `GAUGE_MAX`."""
    counts: Mapping[str, int]
    """Each from 0 to `COUNT_MAX`, since the policy began."""
    left_out: int = 0
    """How often the policy set a number that found no room."""
    classes: Mapping[int, str] = MappingProxyType({})
    """The names of the policy's classes, by number; each name once."""

    def since(self, before: Numbers) -> Numbers:
        """The gauges as they are, and what the counters have grown since `before`."""
        counts = {}
        for name, value in self.counts.items():
            old = before.counts.get(name, 0)
            # If the value is lower than before, another policy has begun, at 0.
            counts[name] = value - old if value >= old else value
        return Numbers(self.gauges, counts, self.left_out, self.classes)


NONE = Numbers({}, {})


def read(memory: mmap | memoryview) -> Numbers:
    """The numbers in this memory, whatever the policy has written there; never raises."""
    header, *entries = _ENTRY.iter_unpack(memory[:_OF_NUMBERS])
    gauges: dict[str, float] = {}
    counts: dict[str, int] = {}
    classes: dict[int, str] = {}
    for value, kind, padded in entries:
        if kind not in (_GAUGE, _COUNT, _CLASS):
            continue
        name = padded.rstrip(b"\0").decode("latin-1")
        if len(name) > NAME_MAX or not _NAME.fullmatch(name):
            continue
        if kind == _CLASS:
            number = int.from_bytes(value, sys.byteorder)
            if number < NR_CLASSES and number not in classes and name not in classes.values():
                classes[number] = name
            continue
        # If two numbers have the same name, only the first counts.
        if name in gauges or name in counts:
            continue
        if kind == _GAUGE:
            (gauge,) = struct.unpack("d", value)
            if not math.isnan(gauge):
                gauges[name] = max(-GAUGE_MAX, min(gauge, GAUGE_MAX))
        else:
            counts[name] = max(int.from_bytes(value, sys.byteorder, signed=True), 0)
    left_out = int.from_bytes(header[0], sys.byteorder, signed=True)
    return Numbers(gauges, counts, max(left_out, 0), classes)


def read_notes(memory: mmap | memoryview, after: int = 0) -> list[Note]:
    """The notes in this memory, by their number, of those above `after`; never raises."""
    return notes.read(memory, _OF_NUMBERS, after)


def nr_notes(memory: mmap | memoryview) -> int:
    """How many notes the policy has written since it began, whatever is in the memory."""
    return notes.number_of(memory, _OF_NUMBERS)
