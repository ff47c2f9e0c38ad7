# SPDX-License-Identifier: GPL-2.0-only
"""Policies that use what `deadline` does not; they raise what is wrong, for `--strict`."""

from __future__ import annotations

from statistics import median

from pyland.policies.deadline import Deadline
from pyland.policies.vtime import Vtime
from pyland.policy import BASE_FIELDS, EXTRA_FIELDS, Batch, Interim, Policy, Task, option


class ByDomain(Policy):
    """Hogs of nice 0 belong to CPU 0, hogs of nice 5 to CPU 1; other tasks run anywhere."""

    fields = (*BASE_FIELDS, "nice")

    def __init__(self) -> None:
        for cpu in self.machine.topology.online:
            self.machine.domains[10 + cpu].set(cpus=[cpu], spill=self.machine.topology.online)
            self.machine.set_performance(cpu, 1024)

    def enqueue(self, task: Task) -> None:
        if task.comm == "hogs":
            self.dispatch(task, domain=11 if task.nice == 5 else 10)
        else:
            self.dispatch(task, vtime_ns=1)


class OneSlice(Policy):
    """Fair by CPU time; a decision is for 2 ms, and lasts for long."""

    lasts_ns = 1_000_000_000
    interim: Interim = "vtime"

    def enqueue(self, task: Task) -> None:
        self.dispatch(task, slice_ns=2_000_000, vtime_ns=task.total_runtime_ns)


class FourSlices(OneSlice):
    """The same; a decision is for four times 2 ms."""

    lasts_slices = 4


class Ticks(Vtime):
    """Slices end at the kernel's ticks."""

    exact_slices = False


class Distance(Deadline):
    """Tells how far the keys that run are ahead of V at most."""

    interval_ns = 20_000_000

    def tick(self) -> None:
        cpus = [self.machine.cpu(cpu) for cpu in self.machine.topology.online]
        keys_ns = [cpu.vtime_ns for cpu in cpus if cpu.pid]
        if keys_ns:
            self.machine.gauge("ahead_ms", (max(keys_ns) - self._vtime_now) / 1e6)


class Curious(Policy):
    """Asks for all fields and events, and checks them."""

    fields = BASE_FIELDS + EXTRA_FIELDS
    interval_ns = 20_000_000

    def __init__(self) -> None:
        self.alive: set[int] = set()
        self.heard = dict.fromkeys(("stopped", "slept", "exited", "tick", "enqueue"), 0)
        self.last_ns = 0

    def enqueue(self, task: Task) -> None:
        self.heard["enqueue"] += 1
        self.alive.add(task.pid)
        now_ns = self.machine.now_ns
        assert self.last_ns <= now_ns, "the clock goes back"
        assert task.enqueue_ns <= now_ns, "it comes from the future"
        self.last_ns = now_ns
        assert task.pid > 0
        assert task.tgid > 0
        assert task.cgroup_id > 0
        assert -20 <= task.nice <= 19
        # The process that serves statistics has a user of its own.
        assert task.uid in (0, 65533), f"user {task.uid}"
        assert 1 <= task.weight <= 10_000
        assert task.awake_runtime_ns <= task.total_runtime_ns
        assert task.average_runtime_ns < 10**12
        if task.comm == "sleeper" and task.wakeup_interval_ns:
            assert 10_000 < task.wakeup_interval_ns < 60 * 10**9
        self.dispatch(task, task.cpu if task.nr_cpus_allowed == 1 else -1, preempt=task.is_wakeup)

    def stopped(self, pid: int, ran_ns: int) -> None:
        self.heard["stopped"] += 1
        assert 0 <= ran_ns < 60 * 10**9

    def slept(self, pid: int) -> None:
        self.heard["slept"] += 1

    def exited(self, pid: int) -> None:
        self.heard["exited"] += 1
        self.alive.discard(pid)

    def tick(self) -> None:
        self.heard["tick"] += 1
        self.machine.kick(0, preempt=True)
        busy = [cpu for cpu in self.machine.topology.online if not self.machine.is_idle(cpu)]
        assert busy, "no CPU runs this"
        if self.heard["tick"] == 100:
            missing = [name for name, nr in self.heard.items() if not nr]
            assert not missing, f"never heard of: {missing}"
            assert len(self.alive) < 1000, "tasks that exited are still here"
            raise SystemExit("all is well")


class Gauging(Deadline):
    """Says how many tasks were runnable, as a median over the second half of `after_ms`."""

    interval_ns = 1_000_000
    after_ms: int = option(8000, "when it says so", least=2)

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[int, int]] = []
        self.begin_ns = 0
        self.now: tuple[int, int] | None = None

    def decide(self, batch: Batch) -> list[int]:
        self.now = batch.nr_runnable, batch.weight_runnable
        return super().decide(batch)

    def tick(self) -> None:
        if not self.begin_ns:
            self.begin_ns = self.machine.now_ns
        ran_ns = self.machine.now_ns - self.begin_ns
        if self.now and ran_ns > self.after_ms * 500_000:
            self.seen.append(self.now)
        if ran_ns > self.after_ms * 1_000_000:
            nr, weight = (median(each) for each in zip(*self.seen, strict=True))
            raise SystemExit(f"runnable: {nr:.0f}, weight: {weight:.0f}")


class Confining(Policy):
    """Hogs by their nice value: 5 is confined to CPUs 0 and 1, 0 spills; a sleeper interrupts."""

    fields = (*BASE_FIELDS, "nice")
    interval_ns = 100_000_000
    lasts_ns = 50_000_000
    interim: Interim = "vtime"
    confined, spilling, urgent = 10, 11, 12

    def __init__(self) -> None:
        domains, every = self.machine.domains, self.machine.topology.online
        domains[self.confined].set(cpus=[0, 1])
        domains[self.spilling].set(cpus=[2, 3], spill=every[2:])
        domains[self.urgent].set(cpus=[5], spill=every, rank=1, preempt=True)

    def enqueue(self, task: Task) -> None:
        domain = None
        if task.comm == "hogs":
            domain = self.confined if task.nice == 5 else self.spilling
        elif task.comm == "sleeper":
            domain = self.urgent
        self.dispatch(task, domain=domain, slice_ns=10_000_000, vtime_ns=task.total_runtime_ns)

    def tick(self) -> None:
        for name in ("confined", "spilling", "urgent"):
            gauges = self.machine.domains[getattr(self, name)].gauges
            self.machine.gauge(f"{name}_runnable", gauges.nr_runnable)
            self.machine.gauge(f"{name}_waiting", gauges.nr_waiting)
            self.machine.gauge(f"{name}_used_ms", gauges.used_ns / 1e6)
            self.machine.gauge(f"{name}_head_waits_ms", gauges.head_waits_ns / 1e6)
