# SPDX-License-Identifier: GPL-2.0-only
"""The rings of a trace in plain memory, written by a test as the BPF programs would."""

from __future__ import annotations

from typing import Any

from pyland._native import ffi, lib

RUNS, SLEEPS = 0, 1


class Rings:
    """Rings of `nr_cpus` CPUs, with room for `slots` events each."""

    def __init__(self, nr_cpus: int = 2, slots: int = 64) -> None:
        header = ffi.sizeof("struct pyland_trace_ring")
        self._stride = header + slots * lib.PYLAND_TRACE_SLOT
        self._slots = slots
        self._memory = ffi.new("char[]", self._stride * nr_cpus)
        self.rings = ffi.new("struct pyland_trace_rings *")
        self.rings.memory = self._memory
        self.rings.stride = self._stride
        self.rings.slots = slots
        self.rings.nr_cpus = nr_cpus

    def ring(self, cpu: int) -> Any:
        """The head of a CPU's ring."""
        return ffi.cast("struct pyland_trace_ring *", self._memory + cpu * self._stride)

    def _write(self, cpu: int, *events: dict[str, int]) -> bool:
        ring = self.ring(cpu)
        if ring.head + len(events) - ring.tail > self._slots:
            ring.lost += 1
            return False
        slots = ffi.cast("struct pyland_trace_event *", ring + 1)
        for values in events:
            slot = slots[ring.head % self._slots]
            for name, value in values.items():
                setattr(slot, name, value)
            ring.head += 1
        return True

    def switch(
        self, cpu: int, time_ns: int, prev: int, pid: int, state: int = RUNS, *, priority: int = 120
    ) -> bool:
        """The task `pid` runs instead of `prev`."""
        event = {"time_ns": time_ns, "pid": pid, "kind": lib.PYLAND_TRACE_SWITCH, "what": 0}
        return self._write(cpu, event | {"bits": priority, "a": prev | state << 32, "b": 0})

    def waking(self, cpu: int, time_ns: int, pid: int, target: int = 0, context: int = 0) -> bool:
        """What runs on `cpu` wakes the task up."""
        event = {"time_ns": time_ns, "pid": pid, "kind": lib.PYLAND_TRACE_WAKING, "what": 0}
        return self._write(cpu, event | {"bits": 120, "a": target | context << 32, "b": 0})

    def queue(
        self,
        cpu: int,
        time_ns: int,
        pid: int,
        what: int,
        *,
        question: int = 0,
        key_ns: int = 0,
        slice_ns: int = 1_000_000,
        queue: int = 0,
        bits: int = 1,
    ) -> bool:
        """The task is queued, or a decision about it has come."""
        event = {"time_ns": time_ns, "pid": pid, "kind": lib.PYLAND_TRACE_QUEUE, "what": what}
        rest = {"time_ns": slice_ns, "pid": 0, "kind": lib.PYLAND_TRACE_REST, "what": 0}
        return self._write(
            cpu, event | {"bits": bits, "a": key_ns, "b": question}, rest | {"a": queue}
        )


def new_task(
    pid: int, comm: bytes, *, time_ns: int = 1, parent: int = 1, renamed: bool = False
) -> Any:
    """A new task, or a task with another name, as its own ring brings it."""
    task = ffi.new("struct pyland_trace_task *")
    task.time_ns, task.pid, task.tgid, task.parent_pid = time_ns, pid, pid, parent
    task.kind = lib.PYLAND_TRACE_NAME if renamed else lib.PYLAND_TRACE_TASK
    task.comm = comm[:15]
    return task
