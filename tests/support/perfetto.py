# SPDX-License-Identifier: GPL-2.0-only
"""Reads a Perfetto trace, as far as pyland writes one, and refuses what its importer would refuse.

A file that was cut off is read up to its last whole packet.
"""

from __future__ import annotations

import struct
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

CPU_TRACKS, COUNTER_TRACKS = 1000, 100000
_ANNOTATIONS, _EVENT_NAMES, _TEXTS = 3, 2, 29
_CLEARED = 1

Fields = dict[int, list[Any]]


class NotAPerfettoTraceError(ValueError):
    """The importer would report an error, or misunderstand something."""


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def fields(data: memoryview) -> Fields:
    """The fields of a message by their numbers; IndexError if it is cut off."""
    found: Fields = defaultdict(list)
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        value: Any
        match tag & 7:
            case 0:
                value, at = _varint(data, at)
            case 1:
                value, at = int.from_bytes(data[at : at + 8], "little"), at + 8
            case 2:
                length, at = _varint(data, at)
                value, at = data[at : at + length], at + length
            case wire:
                raise NotAPerfettoTraceError(f"wire type {wire}")
        if at > len(data):
            raise IndexError("cut off")
        found[tag >> 3].append(value)
    return found


def _packets(data: memoryview) -> Iterator[memoryview]:
    at = 0
    while at < len(data):
        try:
            tag, begin = _varint(data, at)
            length, begin = _varint(data, begin)
        except IndexError:
            return
        if tag != 0x0A:
            raise NotAPerfettoTraceError(f"no packet at byte {at}")
        if begin + length > len(data):
            return
        at = begin + length
        yield data[begin:at]


def _packed(found: Fields, number: int) -> list[int]:
    values = []
    for data in found.get(number, ()):
        at = 0
        while at < len(data):
            value, at = _varint(data, at)
            values.append(value)
    return values


def _text(data: memoryview) -> str:
    return bytes(data).decode()


@dataclass(frozen=True)
class Switch:
    """A task begins to run."""

    time_ns: int
    cpu: int
    prev_state: int
    pid: int
    priority: int
    name: str


@dataclass(frozen=True)
class Waking:
    """The task that runs on `cpu`, or an interrupt there, wakes a task up."""

    time_ns: int
    cpu: int
    pid: int
    target_cpu: int
    name: str
    bits: int


@dataclass(frozen=True)
class Event:
    """An event on a track: `type` is 1 for a begin, 2 for an end, 3 for an instant."""

    time_ns: int
    track: int
    type: int
    name: str
    says: dict[str, int | str]
    flow: int
    flow_ends: bool


@dataclass
class Trace:
    """What the file has, each in the order of its times."""

    release: str = ""
    processes: dict[int, str] = field(default_factory=dict)
    threads: dict[int, str] = field(default_factory=dict)
    tracks: dict[int, str] = field(default_factory=dict)
    switches: list[Switch] = field(default_factory=list)
    wakings: list[Waking] = field(default_factory=list)
    new_tasks: dict[int, str] = field(default_factory=dict)
    renamed: dict[int, str] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    counters: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)
    """By CPU, as the end of the trace says."""
    cpus_with_losses: set[int] = field(default_factory=set)

    def named(self, name: str) -> list[Event]:
        """The events of this name."""
        return [event for event in self.events if event.name == name]

    @property
    def names(self) -> Counter[str]:
        """How many events of each name there are."""
        return Counter(event.name for event in self.events)

    @property
    def ending(self) -> dict[str, int | str] | None:
        """What the end of the trace says; None if the trace was cut off."""
        ends = [event for event in self.events if event.type == 2]
        return ends[-1].says if ends else None

    @property
    def flows(self) -> dict[int, list[Event]]:
        """The events of each flow."""
        found = defaultdict(list)
        for event in self.events:
            if event.flow:
                found[event.flow].append(event)
        return found


def read(data: bytes) -> Trace:
    """The trace in a file's bytes; raises NotAPerfettoTraceError."""
    reader = _Reader()
    for packet in _packets(memoryview(data)):
        reader.take(fields(packet))
    trace = reader.trace
    trace.switches.sort(key=lambda one: one.time_ns)
    trace.wakings.sort(key=lambda one: one.time_ns)
    trace.events.sort(key=lambda one: one.time_ns)
    for values in trace.counters.values():
        values.sort()
    return trace


class _Reader:
    def __init__(self) -> None:
        self.trace = Trace()
        self._interned: dict[int, dict[int, str]] = defaultdict(dict)
        self._begun = False

    def take(self, packet: Fields) -> None:
        if packet.get(13) == [_CLEARED]:
            self._interned.clear()
            self._begun = True
        for data in packet.get(12, ()):
            for number, entries in fields(data).items():
                for entry in map(fields, entries):
                    self._interned[number][entry[1][0]] = _text(entry[2][0])
        for data in packet.get(45, ()):
            self.trace.release = _text(fields(fields(data)[1][0])[3][0])
        for data in packet.get(2, ()):
            self._tree(fields(data))
        for data in packet.get(60, ()):
            self._track(fields(data))
        for data in packet.get(1, ()):
            self._bundle(fields(data))
        for data in packet.get(34, ()):
            self._stats(fields(data))
        for data in packet.get(11, ()):
            self._event(packet, fields(data))

    def _tree(self, tree: Fields) -> None:
        for one in map(fields, tree.get(1, ())):
            self.trace.processes[one[1][0]] = _text(one[3][0])
        for one in map(fields, tree.get(2, ())):
            self.trace.threads[one[1][0]] = _text(one[2][0])

    def _track(self, track: Fields) -> None:
        name = _text((track.get(2) or track[10])[0])
        if track[1][0] in self.trace.tracks:
            raise NotAPerfettoTraceError(f"track {name} is described twice")
        if 5 in track and track[5][0] not in self.trace.tracks:
            raise NotAPerfettoTraceError(f"track {name} has no parent")
        self.trace.tracks[track[1][0]] = name

    def _bundle(self, bundle: Fields) -> None:
        cpu = bundle[1][0]
        if 3 in bundle:
            self.trace.cpus_with_losses.add(cpu)
        for event in map(fields, bundle.get(2, ())):
            for one in map(fields, event.get(235, ())):
                self.trace.new_tasks[one[1][0]] = _text(one[2][0])
            for one in map(fields, event.get(236, ())):
                self.trace.renamed[one[1][0]] = _text(one[3][0])
        for data in bundle.get(4, ()):
            columns = fields(data)
            names = [_text(name) for name in columns.get(5, ())]
            time_ns = 0
            for delta, state, pid, priority, name in zip(
                *(_packed(columns, number) for number in (1, 2, 3, 4, 6)), strict=True
            ):
                time_ns += delta
                switch = Switch(time_ns, cpu, state, pid, priority, names[name])
                self.trace.switches.append(switch)
            time_ns = 0
            for delta, pid, target, _, name, bits in zip(
                *(_packed(columns, number) for number in (7, 8, 9, 10, 11, 12)), strict=True
            ):
                time_ns += delta
                self.trace.wakings.append(Waking(time_ns, cpu, pid, target, names[name], bits))

    def _stats(self, stats: Fields) -> None:
        if stats[1] == [2]:
            for one in map(fields, stats[2]):
                self.trace.lost[one[1][0]] = one[3][0]

    def _name(self, kind: int, number: int) -> str:
        try:
            return self._interned[kind][number]
        except KeyError:
            raise NotAPerfettoTraceError(f"name {number} of kind {kind} is not known") from None

    def _event(self, packet: Fields, event: Fields) -> None:
        track = event[11][0]
        if track not in self.trace.tracks:
            raise NotAPerfettoTraceError(f"an event on a track {track} that is not described")
        if event[9] == [4]:
            if 44 in event:
                value: float = struct.unpack("<d", event[44][0].to_bytes(8, "little"))[0]
            else:
                value = event[30][0]
                value -= 1 << 64 if event[30][0] >> 63 else 0
            name = self.trace.tracks[track]
            self.trace.counters.setdefault(name, []).append((packet[8][0], value))
            return
        if not self._begun:
            raise NotAPerfettoTraceError("an event before the names were cleared")
        says: dict[str, int | str] = {}
        for one in map(fields, event.get(4, ())):
            name = self._name(_ANNOTATIONS, one[1][0])
            if 6 in one:
                says[name] = _text(one[6][0])
            else:
                text = one.get(17)
                says[name] = self._name(_TEXTS, text[0]) if text else one[3][0]
        flow = event.get(47) or event.get(48) or [0]
        self.trace.events.append(
            Event(
                time_ns=packet[8][0],
                track=track,
                type=event[9][0],
                name=self._name(_EVENT_NAMES, event[10][0]) if 10 in event else "",
                says=says,
                flow=flow[0],
                flow_ends=48 in event,
            )
        )
