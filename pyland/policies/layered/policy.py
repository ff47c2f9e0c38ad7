# SPDX-License-Identifier: GPL-2.0-only
"""Layers of tasks, each with CPUs of its own and rules of its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from pyland.policies.layered.clockwork import Clockwork
from pyland.policies.layered.cores import Cores
from pyland.policies.layered.facts import Proc
from pyland.policies.layered.layers import Layer
from pyland.policies.layered.machines import check_machine, flat
from pyland.policies.layered.matching import Matcher
from pyland.policies.layered.membership import Known, Membership
from pyland.policies.layered.reading import check_whole, read, split_specs
from pyland.policy import CPU_ANY, Batch, Interim, Policy, domain_queue, option

# V starts here, so that a state of 0 means "no state yet".
_ORIGIN_NS = 1 << 36
# What `domain_queue` says, for a fifth of a call's time.
_FIRST_DOMAIN = domain_queue(0)
_ALL = (Layer("all", "Open", ((),)),)
_UNKNOWN = Known()


_NEAR_NS = 10_000_000_000
"""So far apart may the keys of two layers be."""


class Line:
    """The order of the tasks of one layer, or of all Open layers, which share CPUs."""

    __slots__ = ("offset_ns", "vtime_now")

    def __init__(self) -> None:
        """No task has run yet."""
        self.vtime_now = _ORIGIN_NS
        """V: the highest virtual time with which a task of it has run."""
        self.offset_ns = 0
        """A key is a virtual time plus this: V is slower where more tasks share a CPU."""


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
        """What a task uses beyond this it used while no other task waited: no debt."""


_warned: set[str] = set()


def _warn(warnings: Iterable[str]) -> None:
    """Print what a file's options leave out, once in this process."""
    for warning in warnings:
        if warning not in _warned:
            _warned.add(warning)
            print(f"warning: {warning}")


def keep_near(lines: Iterable[Line]) -> None:
    """Move the keys of lines that have fallen far behind the others' up to them.

    A CPU compares keys of several lines where a task is bound to it. The machine takes keys only
    within some minutes of one another. A line moves seldom: its queued tasks stay where they are,
    so those that come right after the move run after them.
    """
    lines = list(lines)
    front_ns = max(line.vtime_now + line.offset_ns for line in lines)
    for line in lines:
        behind_ns = front_ns - line.vtime_now - line.offset_ns
        if behind_ns > _NEAR_NS:
            line.offset_ns += behind_ns


class Layered(Policy):
    """Layers of tasks with CPUs of their own, from the JSON files of scx_layered.

    Ten times a second each layer gets as many CPUs as its tasks use, within its range; layers that
    want more than there are share by weight. Confined layers keep to their CPUs, Grouped layers
    go elsewhere when theirs are busy, Open layers have what is left. Within a layer tasks run by
    virtual time. docs/layered.md has what differs from scx_layered 1.1.2.
    """

    fields = (
        "seq",
        "pid",
        "tgid",
        "cpu",
        "nr_cpus_allowed",
        "weight",
        "used_ns",
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
    interim: Interim = "vtime"
    lasts_ns = 100_000_000
    interval_ns = 100_000_000

    source_class: ClassVar[type[Proc]] = Proc
    """Answers the questions about tasks that records do not answer."""

    config: str = option("", "layer files (f:PATH, with commas between them), or JSON")
    slice_us: int = option(20_000, "slice of layers that name none", least=100, most=1_000_000)
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
        if self.disable_topology:
            topology = flat(topology)
        specs = split_specs(self.config)
        check_whole(specs)
        self.layers: tuple[Layer, ...] = _ALL
        if specs:
            found = read(specs)
            self.layers = found.layers
            _warn(found.warnings)
        check_machine(self.layers, topology)
        cores = Cores(topology, partial=self.allow_partial_core)
        self._work = Clockwork(
            self.machine,
            self.layers,
            cores,
            interval_s=self.interval,
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

    def decide(self, batch: Batch) -> list[int]:
        """Decide every task at once; its state is its virtual time."""
        now_ns, credit_ns, llc_of = batch.now_ns, self._credit_ns, self._llc_of
        tasks, matched, rules = self.membership.tasks, self.membership.of, self.rules
        moves = self._work.moves
        table, counted, nr_cpus = self._work.placing.table, self._work.counted, self._nr_cpus
        out: list[int] = []
        for (
            seq, pid, tgid, cpu, nr_allowed, weight, used_ns, state, comm, ppid, uid, gid, nice,
            kthread, ns, ns_pid, leader, cgroup_id, average_ns,
        ) in batch.rows:  # fmt: skip
            known = tasks.get(pid, _UNKNOWN)
            key = comm, cgroup_id, nice, uid, gid, ppid, leader
            if known.key != key or now_ns >= known.again_ns:
                row = (
                    pid, tgid, comm, ppid, uid, gid, nice, cgroup_id, average_ns, kthread, ns,
                    ns_pid, leader,
                )  # fmt: skip
                known = matched(now_ns, key, row)
            number = known.layer
            rule = rules[number]
            line = rule.line
            domain = table[number][llc_of[cpu]]
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
        self._work.tick(self.machine.now_ns)
        keep_near({rule.line for rule in self.rules} | {self._shared_line})

    def changed(self, pid: int) -> None:
        """Look at the task anew: its affinity may be within another node."""
        self.membership.changed(pid)

    def exited(self, pid: int) -> None:
        """Forget the task."""
        self.membership.forget(pid)
