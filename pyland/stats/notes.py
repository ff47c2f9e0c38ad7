# SPDX-License-Identifier: GPL-2.0-only
"""What a policy notes about tasks: written by the policy, read by processes that trust nothing.

The notes are in two pages of memory behind those of the policy's numbers (numbers.py). The policy
can write anything there, so the reader limits each number, and every program that shows a text
escapes it.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping, Sequence
from mmap import mmap
from typing import NamedTuple

_CELL = 64
"""Bytes of a note: its number, its task, its time and its text. The header is as large."""
NOTES_MAX = 127
"""The most tasks with a note: a further one takes the place of the oldest."""
SIZE = _CELL * (1 + NOTES_MAX)
TEXT_MAX = 40
"""The most bytes of a text, in UTF-8; the rest is cut off."""
PID_MAX = 1 << 22
"""The kernel's PID_MAX_LIMIT."""

_NOTE = struct.Struct("QQQ40s")


class Note(NamedTuple):
    """What a policy has noted about a task."""

    number: int
    """Notes are numbered from 1 on; a number that a reader has not seen is new."""
    pid: int
    """The task."""
    time_ns: int
    """The time of the note, on the clock of traces; a hostile policy may write any number."""
    text: str
    """Not escaped."""


class SavedNotes(NamedTuple):
    """What a `PolicyNotes` had, for `restore`."""

    memory: bytes
    known: Mapping[int, tuple[int, str]]
    tasks: Sequence[int]


class PolicyNotes:
    """The policy's side. No method makes a system call."""

    def __init__(self, memory: memoryview) -> None:
        """The notes in `SIZE` bytes of memory, which have to be cleared before the first one."""
        self._use(memory)

    def _use(self, memory: memoryview) -> None:
        self._bytes = memory
        self._words = memory.cast("Q")
        self._known: dict[int, tuple[int, str]] = {}
        """The place and the text of each task."""
        self._tasks = [0] * (NOTES_MAX + 1)
        """The task of each place."""

    def set(self, pid: int, text: str, time_ns: int) -> None:
        """Note a text about a task; an empty one takes the note back. See `Machine.note`."""
        if not isinstance(text, str):
            raise TypeError(f"a note is a text, and not {type(text).__name__}")
        known = self._known.get(pid)
        place = known[0] if known else self._place(pid)
        words, begin = self._words, place * _CELL
        number = words[0] = (words[0] + 1) & (1 << 63) - 1
        # The number is written last: a reader skips a note that has none.
        words[begin // 8] = 0
        shown = text.encode(errors="replace")[:TEXT_MAX]
        _NOTE.pack_into(self._bytes, begin, 0, pid, time_ns, shown)
        words[begin // 8] = number
        self._known[pid] = place, text

    def has(self, pid: int, text: str) -> bool:
        """True if the task has exactly this note already."""
        known = self._known.get(pid)
        return known is not None and known[1] == text

    def clear(self) -> None:
        """Forget all notes: another policy begins."""
        self._use(self._bytes)
        self._bytes[:] = bytes(SIZE)

    def save(self) -> SavedNotes:
        """All notes."""
        return SavedNotes(bytes(self._bytes), dict(self._known), tuple(self._tasks))

    def restore(self, saved: SavedNotes) -> None:
        """Set what `save` returned."""
        self._bytes[:] = saved.memory
        self._known, self._tasks = dict(saved.known), list(saved.tasks)

    def _place(self, pid: int) -> int:
        """A place for a task without a note: the places are used in turn."""
        place = self._words[1] % NOTES_MAX + 1
        self._words[1] = place
        self._known.pop(self._tasks[place], None)
        self._tasks[place] = pid
        return place


def number_of(memory: mmap | memoryview, begin: int) -> int:
    """How many notes the policy has written, whatever is there; `begin` is where they begin."""
    return int.from_bytes(memory[begin : begin + 8], sys.byteorder) & (1 << 63) - 1


def read(memory: mmap | memoryview, begin: int, after: int = 0) -> list[Note]:
    """The notes with a number above `after`, by number; never raises.

    A note that is being written at this moment is left to the next reading.
    """
    if number_of(memory, begin) == 0:
        return []
    first, again = (memory[begin + _CELL : begin + SIZE] for _ in range(2))
    found: dict[int, Note] = {}
    for one, same in zip(_NOTE.iter_unpack(first), _NOTE.iter_unpack(again), strict=True):
        number, pid, time_ns, padded = one
        if one != same or not after < number < 1 << 63 or not 0 < pid <= PID_MAX:
            continue
        if pid in found and found[pid].number > number:
            continue
        text = padded.rstrip(b"\0").decode(errors="replace")
        found[pid] = Note(number, pid, min(time_ns, (1 << 63) - 1), text)
    return sorted(found.values(), key=lambda note: note.number)
