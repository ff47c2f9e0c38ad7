# SPDX-License-Identifier: GPL-2.0-only
"""Layers that name a policy: each is a part of its own, on the CPUs that its layer has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

from pyland.compose import Composed, Part
from pyland.compose.seat import SHARED_NEAR_NS
from pyland.cpumask import cpus_of
from pyland.decision import DECISION_FIELDS, domain_queue
from pyland.errors import UsageError
from pyland.options import Value
from pyland.policies.layered.membership import UNKNOWN, Membership, usual_run_ns
from pyland.policies.layered.policies import OWN, found, part_names
from pyland.policy import Batch, Interim, Policy

if TYPE_CHECKING:
    from pyland.compose.seat import Row
    from pyland.policies.layered.clockwork import Clockwork
    from pyland.policies.layered.layers import Layer

OWN_FIELDS = (
    "seq",
    "pid",
    "tgid",
    "cpu",
    "nr_cpus_allowed",
    "weight",
    "used_ns",
    "awake_runtime_ns",
    "state",
    "comm",
    "ppid",
    "uid",
    "gid",
    "nice",
    "kthread",
    "pid_ns",
    "ns_pid",
    "leader_comm",
    "cgroup_id",
    "average_runtime_ns",
)
"""What is read of a record to find the layer of a task, to order it, and to place it."""

_WIDTH = len(DECISION_FIELDS)
_PID, _CPU = map(DECISION_FIELDS.index, ("pid", "cpu"))
_FIRST_DOMAIN = domain_queue(0)
_LASTS_NS = 100_000_000


class OwnLayers(Policy):
    """The policy of the layers that name none: their tasks are decided as `Layered` decides."""

    name = OWN
    fields = OWN_FIELDS
    interim: Interim = "vtime"
    lasts_ns = _LASTS_NS
    layers: PartsOfLayers

    def decide(self, batch: Batch) -> list[int]:
        """See `Layered.decide_own`."""
        return self.layers.decide_own(batch)


class PartsOfLayers(Composed):
    """Sorts tasks by their layers, and keeps the parts on their layers' CPUs."""

    reads: ClassVar = (
        *("pid", "tgid", "comm", "ppid", "uid", "gid", "nice", "kthread", "pid_ns", "ns_pid"),
        *("leader_comm", "cgroup_id", "average_runtime_ns", "awake_runtime_ns"),
    )
    _needs: ClassVar = ("nr_cpus_allowed", "used_ns")
    _often_ns: ClassVar = 100_000_000

    layers: tuple[Layer, ...]
    membership: Membership
    _work: Clockwork
    _llc_of: list[int]
    _nr_cpus: int
    _credit_ns: int

    if TYPE_CHECKING:  # methods of `Layered`

        def decide_own(self, batch: Batch) -> list[int]: ...
        def _bound_place(self, pid: int, cpu: int, nr_allowed: int, place: int) -> int: ...
        def _moved(self, domain: int) -> int: ...

    def _start_parts(self) -> None:
        """Make the parts, once the layers have their first CPUs; raises UsageError."""
        self._names = part_names(self.layers)
        self._near: dict[int, dict[int, int]] = {}
        if not any(layer.policy for layer in self.layers):
            self._places, self._in_order = {}, []
            self.decide = self.decide_own  # type: ignore[method-assign]
            return
        self._cpu_by_pid: dict[int, int] = {}
        super().__init__()
        # Until the first look the keys of parts are near those of the layers without a policy.
        self._reach_ns = SHARED_NEAR_NS
        if own := self._places.get(OWN):
            policy = own.seat.policy
            assert isinstance(policy, OwnLayers)
            policy.layers = self

    def make_parts(self) -> dict[str, Part]:
        """One for each layer that names a policy, and one for all others."""
        parts = {}
        self._part_of_layer = [OWN] * len(self.layers)
        for index, layer in enumerate(self.layers):
            if layer.policy is None:
                continue
            near = self._near[index] = self._near_of(index)
            name = self._part_of_layer[index] = self._names[index]
            parts[name] = Part(
                found(layer, layer.policy),
                layer.policy.options,
                cpus=cpus_of(self._work.placing.homes[index]),
                spill=cpus_of(self._reach_of(index)),
                near=near,
            )
        self._layer_of_part = {self._names[index]: index for index in self._near}
        if OWN in self._part_of_layer:
            parts[OWN] = Part(OwnLayers, whole=True)
        return parts

    def _settle(self) -> None:
        super()._settle()
        # A task that is not asked about stays in its layer for this long, even if it should leave.
        self.lasts_ns = min(self.lasts_ns, _LASTS_NS)
        names = ("pid", "cpu", "used_ns", "nr_cpus_allowed")
        self._columns = tuple(self.fields.index(name) for name in names)
        division = self._division
        _, division.cpu_at, division.used_at, division.allowed_at = self._columns
        division.nr_allowed, division.cpu_by_pid = self._nr_cpus, self._cpu_by_pid

    def _near_of(self, index: int) -> dict[int, int]:
        table = self._work.placing.table[index]
        return {cpu.id: _FIRST_DOMAIN - table[self._llc_of[cpu.id]]
                for cpu in self.machine.topology.cpus}  # fmt: skip

    def _reach_of(self, index: int) -> int:
        places = self._work.placing.places
        reach = 0
        for number in self._work.own_domains(index):
            reach |= places[number].cpus | places[number].spill
        return reach

    def _take_counted(self) -> None:
        """Add what was counted about the tasks of the parts to what is known of their layers."""
        for index in self._near:
            count, seat = self._work.counted[index], self._places[self._names[index]].seat
            count.nr += seat.nr_placed
            count.moved += seat.nr_moved
            count.used_ns += seat.used_ns
            count.open_ns += seat.away_ns
            seat.nr_placed = seat.nr_moved = seat.used_ns = seat.away_ns = 0

    def _follow_sizes(self) -> None:
        """The layers have other CPUs: so have their parts."""
        for index, near in self._near.items():
            home, reach = self._work.placing.homes[index], self._reach_of(index)
            part = self._places[self._names[index]].machine
            wanted = self._near_of(index)
            if (part.home, part.reach, near) != (home, reach | home, wanted):
                near.update(wanted)
                self.resize_part(self._names[index], home, reach)

    def _ruled(self, known: Row) -> str:
        (pid, tgid, awake_ns, comm, ppid, uid, gid, nice, kthread, ns, ns_pid, leader, cgroup_id,
         average_ns) = known  # fmt: skip
        key = comm, cgroup_id, nice, uid, gid, ppid, leader
        now_ns = self._division.batch.now_ns
        task = self.membership.tasks.get(pid, UNKNOWN)
        if task.key != key or now_ns >= task.again_ns:
            run_ns = usual_run_ns(average_ns, awake_ns, self._credit_ns)
            row = (pid, tgid, comm, ppid, uid, gid, nice, cgroup_id, run_ns, kthread, ns,
                   ns_pid, leader)  # fmt: skip
            task = self.membership.of(now_ns, key, row)
        return self._part_of_layer[task.layer]

    def placed(self, name: str, rows: Sequence[Row], flat: list[int]) -> None:
        """Count what the tasks have used, and place those that are bound or have to move."""
        index = self._layer_of_part[name]
        count, cpus, nr_cpus = self._work.counted[index], self._cpu_by_pid, self._nr_cpus
        pid_at, cpu_at, used_at, allowed_at = self._columns
        bound: dict[int, Row] = {}
        count.nr += len(rows)
        for row in rows:
            cpu, used_ns = row[cpu_at], row[used_at]
            count.used_ns += used_ns
            if not count.home >> cpu & 1:
                count.open_ns += used_ns
            count.moved += cpus.setdefault(row[pid_at], cpu) != cpu
            cpus[row[pid_at]] = cpu
            if row[allowed_at] < nr_cpus:
                bound[row[pid_at]] = row
        moves = self._work.moves
        if not moves and not bound:
            return
        for at in range(0, len(flat), _WIDTH):
            place = flat[at + _CPU]
            if place > _FIRST_DOMAIN:
                continue
            if moves and (domain := _FIRST_DOMAIN - place) in moves:
                place = _FIRST_DOMAIN - self._moved(domain)
            if task := bound.get(flat[at + _PID]):
                place = self._bound_place(task[pid_at], task[cpu_at], task[allowed_at], place)
            flat[at + _CPU] = place

    # Live changes.

    def part_names(self) -> dict[str, str]:
        """By the name of its part, the policy of each layer that names one."""
        return {name: one for name, one in super().part_names().items() if name != OWN}

    def part_name(self, name: str) -> str:
        """The part of a layer, by the layer's own name or by that of the part."""
        for index, layer in enumerate(self.layers):
            if layer.name != name and self._names[index] != name:
                continue
            if layer.policy is None:
                naming = ", ".join(one.name for one in self.layers if one.policy)
                rest = f"those that do: {naming}" if naming else "none of the layers does"
                raise UsageError(f"layer {name!r} names no policy in its file; {rest}")
            return self._names[index]
        return name

    def swap_part(self, name: str, policy: type[Policy], options: Mapping[str, Value]) -> str:
        """See `Composed.swap_part`."""
        name = self.part_name(name)
        if name == OWN or not self._places:
            has = ", ".join(layer.name for layer in self.layers)
            raise UsageError(f"policy {self.name} has no layer {name!r}; it has: {has}")
        return super().swap_part(name, policy, options)
