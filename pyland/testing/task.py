# SPDX-License-Identifier: GPL-2.0-only
"""A task of an offline machine, with what a kernel knows about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pyland.decision import CPU_ANY
from pyland.task import WAKEUP
from pyland.testing.arithmetic import average


@dataclass(eq=False)
class OfflineTask:
    """Made by `OfflineMachine.add`; to be read only."""

    name: str
    pid: int
    weight: int = 100
    cpus: frozenset[int] = frozenset()
    """Its affinity."""
    runs_ns: int | None = None
    """It sleeps after this much CPU time; None: never by itself."""
    sleeps_ns: int | None = None
    """It wakes up after this time; None: only when `OfflineMachine.wake` is called."""
    known: dict[str, Any] = field(default_factory=dict)
    """Fields that only a real kernel knows: uid, cgroup_id, ..."""

    cpu: int = 0
    total_runtime_ns: int = 0
    awake_runtime_ns: int = 0
    longest_wait_ns: int = 0
    """The longest it was runnable without a CPU."""

    seq: int = 0
    state: int = 0
    where: str = "asleep"
    """`asleep`, `held`, `queued`, `running` or `gone`."""
    awake_left_ns: int | None = None
    """CPU time until it sleeps; None: it does not."""
    enq_flags: int = 0
    start_ns: int = 0
    wakeup_ns: int = 0
    enqueue_ns: int = 0
    slept_ns: int = 0
    place: int = CPU_ANY
    """The CPU or domain of its last decision."""
    vtime_ns: int | None = None
    """The key of its last decision, or where it continues; None before the first."""
    slice_left_ns: int = 0
    asked_runtime_ns: int = 0
    """Its CPU time at its last record."""
    decided_runtime_ns: int = 0
    """Its CPU time at the record that was last decided."""
    wakeup_interval_ns: int = 0
    sleep_interval_ns: int = 0
    average_runtime_ns: int = 0

    @property
    def runnable(self) -> bool:
        """True if it runs or waits for a CPU."""
        return self.where in ("held", "queued", "running")

    def woken(self, now_ns: int) -> None:
        """Note that the task wakes up."""
        if self.wakeup_ns:
            self.wakeup_interval_ns = average(self.wakeup_interval_ns, now_ns - self.wakeup_ns)
        self.wakeup_ns, self.awake_runtime_ns = now_ns, 0
        self.enq_flags = WAKEUP
        self.awake_left_ns = self.runs_ns

    def asleep(self, now_ns: int) -> None:
        """Note that the task falls asleep."""
        if self.slept_ns:
            self.sleep_interval_ns = average(self.sleep_interval_ns, now_ns - self.slept_ns)
        self.slept_ns = now_ns
        self.average_runtime_ns = average(self.average_runtime_ns, self.awake_runtime_ns)
        self.where = "asleep"

    def ran(self, ran_ns: int) -> None:
        """Add this time, in which the task had a CPU."""
        self.total_runtime_ns += ran_ns
        self.awake_runtime_ns += ran_ns
        self.slice_left_ns -= ran_ns
        if self.awake_left_ns is not None:
            self.awake_left_ns -= ran_ns

    def decided(self, state: int) -> None:
        """Note that its last record was decided, and the policy's state of the task."""
        self.state = state
        self.decided_runtime_ns = self.asked_runtime_ns

    def record(self, now_ns: int) -> dict[str, Any]:
        """All fields, as the kernel side writes them when the task is enqueued."""
        self.seq += 1
        self.enqueue_ns = now_ns
        self.asked_runtime_ns = self.total_runtime_ns
        return {
            "seq": self.seq,
            "pid": self.pid,
            "tgid": self.pid,
            "cpu": self.cpu,
            "nr_cpus_allowed": len(self.cpus),
            "enq_flags": self.enq_flags,
            "weight": self.weight,
            "used_ns": self.total_runtime_ns - self.decided_runtime_ns,
            "awake_runtime_ns": self.awake_runtime_ns,
            "total_runtime_ns": self.total_runtime_ns,
            "start_ns": self.start_ns,
            "wakeup_ns": self.wakeup_ns,
            "enqueue_ns": now_ns,
            "state": self.state,
            "comm": self.name.encode()[:15],
            "ppid": 1,
            "uid": 0,
            "gid": 0,
            "nice": 0,
            "waker_pid": 0,
            "kthread": 0,
            "pid_ns": 0xEFFFFFFC,
            "ns_pid": self.pid,
            "leader_comm": self.name.encode()[:15],
            "cgroup_id": 1,
            "wakeup_interval_ns": self.wakeup_interval_ns,
            "sleep_interval_ns": self.sleep_interval_ns,
            "waker_interval_ns": 0,
            "average_runtime_ns": self.average_runtime_ns,
        } | self.known
