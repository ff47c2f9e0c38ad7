# SPDX-License-Identifier: GPL-2.0-only
"""Layers of tasks, each with CPUs of its own and rules of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pyland.policies.layered.clockwork import Clockwork
from pyland.policies.layered.facts import Proc
from pyland.policies.layered.layers import DISALLOW_PREEMPT_US, SLICE_US, Layer
from pyland.policies.layered.machines import about_cores, check_machine, cores_for, flat
from pyland.policies.layered.matching import Matcher
from pyland.policies.layered.membership import UNKNOWN, Membership, usual_run_ns
from pyland.policies.layered.order import Line, Rules, keep_near
from pyland.policies.layered.parts import OWN_FIELDS, PartsOfLayers
from pyland.policies.layered.reading import check_whole, read, split_specs
from pyland.policy import CPU_ANY, Batch, Interim, domain_queue, option

# `_FIRST_DOMAIN - n` is `domain_queue(n)`, for a fifth of the time of a call.
_FIRST_DOMAIN = domain_queue(0)
_ALL = (Layer("all", "Open", ((),)),)
_NEVER_NS = 1 << 62
_PATIENT_NS = DISALLOW_PREEMPT_US * 1000
"""A task of a preempting layer that has used this much CPU time without a sleep preempts none."""


_warned: set[str] = set()


def _warn(warnings: Iterable[str]) -> None:
    """Print what a file's options leave out, once in this process."""
    for warning in warnings:
        if warning not in _warned:
            _warned.add(warning)
            print(f"warning: {warning}")


class Layered(PartsOfLayers):
    """Layers of tasks with CPUs of their own, from the JSON files of scx_layered.

    Ten times a second each layer gets as many CPUs as its tasks use, within its range; layers that
    want more than there are share by weight. Confined layers keep to their CPUs, Grouped layers
    go elsewhere when theirs are busy, Open layers have what is left. Within a layer tasks run by
    virtual time, or as the policy decides that the layer names. docs/layered.md has what differs
    from scx_layered 1.1.2.
    """

    fields = OWN_FIELDS
    interim: Interim = "vtime"
    lasts_ns = 100_000_000
    interval_ns = 100_000_000

    source_class: ClassVar[type[Proc]] = Proc
    """Answers what matches ask about a task and records do not say."""

    config: str = option("", "layer files (f:PATH, with commas between them), or JSON")
    slice_us: int = option(SLICE_US, "slice of layers that name none", least=100, most=1_000_000)
    interval: float = option(0.1, "seconds between two sizings", least=0.1, most=10.0)
    allow_partial_core: bool = option(False, "layers may share the SMT siblings of a core")
    disable_topology: bool = option(False, "take all CPUs as cores of one cache and one node")
    util_compensation: bool = option(False, "scale use up for what interrupts take")
    layer_refresh_ms_avgruntime: int = option(
        2000, "how often AvgRuntime is matched anew", least=1, most=3_600_000
    )

    def __init__(self) -> None:
        """Read the files; raises UsageError for a mistake in them."""
        topology = self.machine.topology
        specs = split_specs(self.config)
        check_whole(specs)
        self.layers: tuple[Layer, ...] = _ALL
        if specs:
            found = read(specs)
            self.layers = found.layers
            _warn(found.warnings)
        nr_caches = topology.nr_llcs
        if self.disable_topology:
            topology = flat(topology, self.layers)
        check_machine(self.layers, topology, nr_caches)
        cores = cores_for(self.layers, topology, partial=self.allow_partial_core)
        _warn(about_cores(self.layers, partial=self.allow_partial_core))
        self._work = Clockwork(
            self.machine,
            self.layers,
            cores,
            interval_s=self.interval,
            slice_us=self.slice_us,
            compensates=self.util_compensation,
        )
        matcher = Matcher(self.layers, cores.node_masks)
        again_ns = self.layer_refresh_ms_avgruntime * 1_000_000
        self.source = self.source_class()
        self.membership = Membership(matcher, self.source, every_ns=again_ns)
        self._shared_line = Line()
        self.rules = [
            Rules(
                layer,
                self._shared_line if layer.is_open else Line(),
                self.slice_us,
                self.machine.slices.longest_ns,
            )
            for layer in self.layers
        ]
        self._llc_of = [0] * topology.nr_cpu_ids
        for cpu in topology.cpus:
            self._llc_of[cpu.id] = cpu.llc
        self._nr_cpus = cores.nr_cpus
        self._credit_ns = self.machine.slices.longest_ns
        if any(layer.options.preempt for layer in self.layers):
            # Else tasks of layers that do not preempt would preempt by their keys.
            self.margin_ns = _NEVER_NS
        self._start_parts()

    def decide_own(self, batch: Batch) -> list[int]:
        """Decide tasks of layers that name no policy; a task's state is its virtual time."""
        now_ns, credit_ns, llc_of = batch.now_ns, self._credit_ns, self._llc_of
        tasks, matched, rules = self.membership.tasks, self.membership.of, self.rules
        moves = self._work.moves
        placing, counted, nr_cpus = self._work.placing, self._work.counted, self._nr_cpus
        table, patient = placing.table, placing.patient_table
        out: list[int] = []
        for (
            seq, pid, tgid, cpu, nr_allowed, weight, used_ns, awake_ns, state, comm, ppid, uid, gid,
            nice, kthread, ns, ns_pid, leader, cgroup_id, average_ns,
        ) in batch.rows:  # fmt: skip
            known = tasks.get(pid, UNKNOWN)
            key = comm, cgroup_id, nice, uid, gid, ppid, leader
            if known.key != key or now_ns >= known.again_ns:
                run_ns = usual_run_ns(average_ns, awake_ns, credit_ns)
                row = (
                    pid, tgid, comm, ppid, uid, gid, nice, cgroup_id, run_ns, kthread, ns,
                    ns_pid, leader,
                )  # fmt: skip
                known = matched(now_ns, key, row)
            number = known.layer
            rule = rules[number]
            line = rule.line
            domain = (patient if awake_ns > _PATIENT_NS else table)[number][llc_of[cpu]]
            if moves and domain in moves:
                domain = self._moved(domain)
            place = _FIRST_DOMAIN - domain
            if nr_allowed < nr_cpus:
                place, line = self._bound(pid, cpu, nr_allowed, place, line)
            vtime_now = line.vtime_now
            if known.line is not line:
                # A virtual time of another line means nothing in this one.
                known.line = line
                vtime_ns = vtime_now
            elif not state or rule.fifo:
                vtime_ns = vtime_now
            else:
                if state > vtime_now:
                    line.vtime_now = vtime_now = state
                charged_ns = used_ns if used_ns > rule.min_exec_ns else rule.min_exec_ns
                if charged_ns > rule.debt_ns:
                    charged_ns = rule.debt_ns
                vtime_ns = state + charged_ns * 100 // weight
                if vtime_ns < vtime_now - credit_ns:
                    vtime_ns = vtime_now - credit_ns
            count = counted[number]
            count.nr += 1
            count.used_ns += used_ns
            if not count.home >> cpu & 1:
                count.open_ns += used_ns
            if cpu != known.cpu:
                count.moved += known.cpu >= 0
                known.cpu = cpu
            key_ns = vtime_ns + line.offset_ns
            out += (seq, pid, place, rule.slice_ns, key_ns, vtime_ns, 0)
        return out

    def _moved(self, domain: int) -> int:
        """Another domain of the layer, if tasks are to move there."""
        move = self._work.moves[domain]
        move.left -= 1
        if not move.left:
            del self._work.moves[domain]
        return move.target

    def _bound_place(self, pid: int, cpu: int, nr_allowed: int, place: int) -> int:
        """As `_bound`, without the line: a layer's own policy orders its tasks."""
        return self._bound(pid, cpu, nr_allowed, place, self._shared_line)[0]

    def _bound(
        self, pid: int, cpu: int, nr_allowed: int, place: int, line: Line
    ) -> tuple[int, Line]:
        """The place and the line of a task whose affinity leaves out CPUs.

        If its layer has no CPU for it, it goes by its affinity alone. A task of one CPU waits in
        the queue of that CPU, beside the tasks of the layer that owns it.
        """
        if nr_allowed == 1:
            owner = self._work.owner_of(cpu)
            return CPU_ANY, self._shared_line if owner is None else self.rules[owner].line
        allowed = self.source.allowed_cpus(pid)
        if allowed is None or allowed & self._work.placing.reach(place):
            return place, line
        return CPU_ANY, line

    def tick(self) -> None:
        """Size the layers, if it is time."""
        if self._places:
            self._take_counted()
        if self._work.tick(self.machine.now_ns) and self._places:
            self._follow_sizes()
        if self._places:
            self._division.is_moving = bool(self._work.moves)
        super().tick()
        lines = {rule.line for rule in self.rules} | {self._shared_line}
        if self._places:
            self._newest_ns = keep_near(lines, self._newest_ns, self._reach_ns)
        else:
            keep_near(lines)

    def hears(self, event: str) -> bool:
        """True for `changed` and `exited`, and for the events that the policy of a layer hears."""
        return event in ("changed", "exited") or super().hears(event)

    def changed(self, pid: int) -> None:
        """Look at the task anew: its affinity may be within another node."""
        self.membership.changed(pid)
        if self._places:
            super().changed(pid)

    def exited(self, pid: int) -> None:
        """Forget the task."""
        self.membership.forget(pid)
        if self._places:
            super().exited(pid)
            self._cpu_by_pid.pop(pid, None)
