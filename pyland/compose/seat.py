# SPDX-License-Identifier: GPL-2.0-only
"""A policy at work in its part: the tasks that it is shown, and what becomes of its decisions."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyland._native import DivisionSeat
from pyland.compose.part_machine import PartMachine
from pyland.cpumask import cpus_of
from pyland.decision import DECISION_FIELDS, KICK, flat_decisions
from pyland.policy import CPU_ANY, Batch, Policy

_WIDTH = len(DECISION_FIELDS)
_PID, _CPU, _KEY, _FLAGS = map(DECISION_FIELDS.index, ("pid", "cpu", "vtime_ns", "flags"))
_KINDS = "QiiQQQQ"

NEAR_NS = 1 << 38
"""The most by which keys of two parts may differ; BPF compares keys within 1,100 s."""
SHARED_NEAR_NS = 200_000_000
"""The same limit for parts that share CPUs with a part whose keys are those of the machine."""

EARLY_NS = LATE_NS = 1_000_000_000
"""How far the keys of a part that shares CPUs may be from the part's virtual time."""
_LATEST_NS = (1 << 63) - 1
"""Keys of a policy that are later count as this."""

Row = tuple[Any, ...]


class Seat(DivisionSeat):
    """One policy of a part. A part has two: that of its policy, and one in reserve."""

    def __init__(self, policy: Policy, machine: PartMachine, token: int) -> None:
        """`policy` was made for `machine`; no other seat has this token."""
        self.token = token
        self.policy = policy
        self.machine = machine
        self.decide: Callable[[Batch], Any] = policy.decide
        self.batch = Batch(policy.fields)
        self.outgoing = machine.outgoing
        self.nr_held = 0
        self.tick_due_ns = 0
        self.queue = 0
        """The place of its tasks, if all have the same; else 0."""
        self.near: dict[int, int] | None = None
        """By CPU, the place of a task that ran there last; None if `queue` is the place of all."""
        self.home: frozenset[int] | None = None
        self.is_whole = machine.is_whole
        """True if its decisions name places of the whole machine."""
        self.keeps_keys = machine.keeps_keys
        """True if its keys fit those of other parts."""
        self.is_checked = False
        """True after a failure: then each number of an answer is looked at."""
        self.is_unusual = self.is_whole
        """True if each of its answers has to be completed."""
        self.find_places()
        self.pick: tuple[int, ...] | None = None
        """Where the policy's fields are in a row; None if rows come with exactly these."""
        self.shift_ns = 0
        """What is added to its keys."""
        self.key_ns = 0
        """The first key of its last answer."""
        self.was_far = False
        """True if a key was out of its range, and has moved all later ones."""
        self.begins_at_ns = 0
        """The key that the first decision has to get; 0: as the policy says."""

    def find_places(self) -> None:
        """Find anew where tasks wait, because the part has other domains."""
        machine, near = self.machine, self.machine.near()
        self.queue = machine.domains.places[CPU_ANY]
        self.places = machine.domains.places if machine.places_domains else {}
        self.cpus = {cpu: cpu for cpu in cpus_of(machine.reach)}
        if not machine.places_domains:
            self.near, self.queue = near, next(iter(near.values()))
            self.home = frozenset(cpus_of(machine.home))
        else:
            self.near = near if len(set(near.values())) > 1 else None

    @property
    def front_ns(self) -> int:
        """A key of its last answers; 0 if none is known."""
        last = self.last
        if last is not None and len(last) > _KEY and type(last[_KEY]) is int:
            key_ns: int = last[_KEY]
            return max(key_ns, 0)
        return self.key_ns

    @property
    def own_front_ns(self) -> int:
        """`front_ns` as the policy gave it, before `move` and `rate`."""
        own_ns = self.front_ns - self.shift_ns
        if self.rate:
            own_ns = self.from_ns + ((own_ns - self.from_ns) << 32) // self.rate
        return own_ns

    def begin_at(self, key_ns: int) -> None:
        """Let its first key become this one: tasks wait that have keys of the policy before."""
        if key_ns:
            self.begins_at_ns = min(key_ns, _LATEST_NS)

    def move(self, own_ns: int, key_ns: int) -> None:
        """From here on the policy's key `own_ns` is the machine's `key_ns`; others keep apart."""
        self.from_ns, self.shift_ns = own_ns, key_ns - own_ns

    def key(self, own_ns: int) -> int:
        """The key of the machine for this key of its policy."""
        own_ns = min(own_ns, _LATEST_NS)
        if self.rate:
            own_ns = self.from_ns + ((own_ns - self.from_ns) * self.rate >> 32)
        key_ns = own_ns + self.shift_ns
        if self.most_ns:
            key_ns = min(key_ns, self.most_ns)
        return max(key_ns, self.least_ns)

    def hears(self, event: str) -> bool:
        """True if the policy wants to be told of this event, a method of `Policy`."""
        policy = self.policy
        # `Policy.decide` keeps tasks, and has to forget those that exit.
        keeps = event == "exited" and type(policy).decide is Policy.decide
        return keeps or policy.hears(event)

    def reads(self, fields: tuple[str, ...]) -> None:
        """From here on rows have these fields; the policy reads some of them."""
        self.pick = None
        if self.policy.fields != fields:
            self.pick = tuple(fields.index(name) for name in self.policy.fields)

    @property
    def load(self) -> tuple[int, int]:
        """How many tasks of the part are runnable and their weight, as its policy is told."""
        return self.batch.nr_runnable, self.batch.weight_runnable

    @load.setter
    def load(self, load: tuple[int, int]) -> None:
        self.batch.nr_runnable, self.batch.weight_runnable = load

    def shown(self, rows: Sequence[Row], now_ns: int) -> Batch:
        """The batch of these rows, in its own fields."""
        batch = self.batch
        batch.nr = len(rows)
        pick = self.pick
        batch.rows = rows if pick is None else [tuple(row[at] for at in pick) for row in rows]
        batch.now_ns = now_ns
        return batch

    def taken(
        self, answer: Any, newest_ns: int, near_ns: int, cpus_by_pid: Mapping[int, int]
    ) -> list[int]:
        """The decisions of an answer, for the whole machine; raises TypeError for nonsense.

        CPUs and domains become those of the whole machine; a task for any CPU goes to the domain
        of the one where it ran last. If the first key is out of the range of its part, or
        `near_ns` from the newest key of all parts where the part has no range yet, all keys from
        here on are moved.
        """
        self.last = None
        outgoing = self.outgoing
        if outgoing or type(answer) is not list or (answer and type(answer[0]) is not int):
            answer = [*outgoing, *flat_decisions(answer)]
            outgoing.clear()
        if not answer:
            return []
        if len(answer) % _WIDTH or self.is_checked:
            check(answer)
        flat: list[int] = answer
        kicks: list[int] = []
        cpus = flat[_CPU::_WIDTH]
        if self.is_whole:
            if self.keeps_keys:
                self.key_ns = flat[_KEY]
                return flat
        elif cpus.count(CPU_ANY) == len(cpus):
            if near := self.near:
                places = [near.get(cpus_by_pid.get(pid, -1), self.queue)
                          for pid in flat[_PID::_WIDTH]]  # fmt: skip
                flat[_CPU::_WIDTH] = places
            else:
                flat[_CPU::_WIDTH] = [self.queue] * len(cpus)
        else:
            flat, kicks = self._placed(flat, cpus_by_pid)
        if flat:
            keys = flat[_KEY::_WIDTH]
            if {*map(type, keys)} != {int} or min(keys) < 0 or max(keys) >= 1 << 64:
                check(flat)
            first_ns = min(keys[0], _LATEST_NS)
            if self.begins_at_ns:
                self.move(first_ns, self.begins_at_ns)
                self.begins_at_ns = 0
            elif self.most_ns:
                if not self.least_ns < self.key(first_ns) < self.most_ns:
                    # Its policy has begun anew, or has keys of a larger scale.
                    self.rate = max((self.rate or 1 << 32) >> 4, 1)
                    self.move(first_ns, self.most_ns - LATE_NS)
                    self.was_far = True
            elif newest_ns and abs(first_ns + self.shift_ns - newest_ns) >= near_ns:
                self.move(first_ns, newest_ns)
            if self.shift_ns or self.most_ns:
                flat[_KEY::_WIDTH] = map(self.key, keys)
            self.key_ns = flat[_KEY]
        return flat + kicks if kicks else flat

    def _placed(
        self, flat: list[int], cpus_by_pid: Mapping[int, int]
    ) -> tuple[list[int], list[int]]:
        """The decisions, each with a place of the part; and the kicks of CPUs of the part."""
        place_of, near, queue = self.machine.place, self.near, self.queue
        decisions: list[int] = []
        kicks: list[int] = []
        for at in range(0, len(flat), _WIDTH):
            row = flat[at : at + _WIDTH]
            cpu = row[_CPU]
            if row[_FLAGS] & KICK:
                if place_of(cpu) == cpu:
                    kicks += row
                continue
            place = place_of(cpu) if cpu != CPU_ANY or not near else None
            if place is None:
                place = near.get(cpus_by_pid.get(row[_PID], -1), queue) if near else queue
            row[_CPU] = place
            decisions += row
        return decisions, kicks


def check(flat: Sequence[Any]) -> None:
    """Raise TypeError if these are no decisions, one after the other."""
    nr, rest = divmod(len(flat), _WIDTH)
    if rest:
        raise TypeError(
            f"decide() returned {len(flat)} numbers: it takes {_WIDTH} for each decision"
        )
    for at in range(nr):
        row = flat[at * _WIDTH : (at + 1) * _WIDTH]
        for name, kind, value in zip(DECISION_FIELDS, _KINDS, row, strict=True):
            try:
                struct.pack(f"={kind}", value)
            except struct.error:
                takes = "a 32-bit integer" if kind == "i" else "an integer from 0 to 2**64 - 1"
                raise TypeError(
                    f"a decision has {name} = {type(value).__name__}: it takes {takes}"
                    if type(value) is not int
                    else f"a decision has {name} = {value}: it takes {takes}"
                ) from None
