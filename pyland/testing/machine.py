# SPDX-License-Identifier: GPL-2.0-only
"""CPUs, a clock, and the way of a task between them, as bpf/pyland.bpf.c has it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from pyland.machine import NR_DOMAINS, Machine, Slices
from pyland.policy import CPU_ANY, DECISION_FIELDS, FIELDS, Policy, flat_decisions
from pyland.task import WAKEUP
from pyland.testing import arithmetic
from pyland.testing.holding import Holds
from pyland.testing.questions import Questions
from pyland.testing.queues import SHARED, Queues, cpu_queue, domain_queue
from pyland.testing.task import OfflineTask
from pyland.testing.trace import Decision, Trace
from pyland.topology import Topology

_WIDTH = len(DECISION_FIELDS)
_KICK = 2
_COUNTED = (
    "direct",
    "forwarded",
    "decided",
    "continued",
    "fallback",
    "late",
    "bounced",
    "bad_decisions",
)


class _Cpu:
    """One CPU: what runs on it, and since when."""

    def __init__(self, number: int, domain: int) -> None:
        self.number = number
        self.domain = domain
        self.performance: int | None = None
        self.task: OfflineTask | None = None
        self.turn = 0  # events of an earlier turn are void
        self.charged_ns = 0  # until when its task's time is counted


class OfflineMachine(Machine):
    """A machine with a virtual clock that a policy schedules.

    A task that wakes up runs at once where a CPU idles; else the policy is asked. What it
    decides takes effect immediately: here Python takes no time. A task that is kept for
    longer than `lag_ns` runs without it. Slices end exactly, where a kernel waits for its
    tick.
    """

    def __init__(
        self,
        topology: Topology,
        policy: type[Policy],
        *,
        slices: Slices | None = None,
        lag_ns: int = 20_000_000,
        seed: int = 0,
        **options: Any,
    ) -> None:
        """A machine on which nothing runs yet; `options` are the policy's."""
        super().__init__(topology, slices, seed)
        self._now_ns = 1_000_000_000
        self._cpus = {cpu.id: _Cpu(cpu.id, cpu.llc % NR_DOMAINS) for cpu in topology.cpus}
        self._queues = Queues()
        self._held: dict[int, OfflineTask] = {}
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()
        self._lag_ns = lag_ns
        self._vtime_now_ns = 0
        self.tasks: dict[int, OfflineTask] = {}
        self.decisions: list[Decision] = []
        self.trace = Trace()
        self.counters = dict.fromkeys(_COUNTED, 0)
        self.policy = policy.create(self, **options)
        self._questions = Questions(self.policy, self.tasks)
        self._holds = Holds(self.policy, self.slices.longest_ns)
        if self.policy.interval_ns:
            self._at(self.policy.interval_ns, self._tick)

    @property
    def now_ns(self) -> int:
        """The virtual clock."""
        return self._now_ns

    def is_idle(self, cpu: int) -> bool:
        """Does nothing run there?"""
        self._check_cpu(cpu)
        return self._cpus[cpu].task is None

    def set_domain(self, cpu: int, domain: int) -> None:
        """From the CPU's next choice on."""
        self._check_cpu(cpu)
        self._check_domain(domain)
        self._cpus[cpu].domain = domain

    def set_performance(self, cpu: int, target: int) -> None:
        """Only noted: see `performance`."""
        self._check_cpu(cpu)
        self._check_performance(target)
        self._cpus[cpu].performance = target

    def performance(self, cpu: int) -> int | None:
        """The target that was set for a CPU, None without one."""
        return self._cpus[cpu].performance

    def add(
        self,
        name: str,
        *,
        weight: int = 100,
        cpus: Iterable[int] = (),
        runs_ns: int | None = None,
        sleeps_ns: int | None = None,
        **known: Any,
    ) -> OfflineTask:
        """A new task, asleep. `cpus` is its affinity, `known` sets fields such as `uid`.

        With `runs_ns` it sleeps after so much CPU time, with `sleeps_ns` it wakes up by
        itself after so long.
        """
        allowed = frozenset(cpus or self.topology.online)
        if wrong := (set(known) - set(FIELDS)) | (allowed - set(self._cpus)):
            raise ValueError(f"{name}: there is no {sorted(map(str, wrong))[0]}")
        pid = 100 + len(self.tasks)
        task = OfflineTask(name, pid, weight, allowed, runs_ns, sleeps_ns, known, min(allowed))
        self.tasks[pid] = task
        return task

    def wake(self, task: OfflineTask) -> None:
        """Wake a task up; nothing happens to one that is awake."""
        if task.where != "asleep":
            return
        self._log(f"{task.name} wakes up")
        task.woken(self._now_ns)
        idle = self._idle_for(task)
        if idle is not None:
            task.slice_ns = self._weighted(self.slices.longest_ns, task)
            self.counters["direct"] += 1
            self._start(idle, task)
        else:
            self._enqueue(task)
            self._ask()

    def sleep(self, task: OfflineTask) -> None:
        """Put a task to sleep, wherever it is."""
        if not task.runnable:
            return
        self._leave(task)
        task.asleep(self._now_ns)
        self._log(f"{task.name} sleeps")
        self._tell("slept", task.pid)
        if task.sleeps_ns is not None:
            self._at(task.sleeps_ns, lambda: self.wake(task))
        self._fill()

    def exit(self, task: OfflineTask) -> None:
        """End a task, wherever it is."""
        if task.where == "gone":
            return
        if task.runnable:
            self._leave(task)
        task.where = "gone"
        self._log(f"{task.name} exits")
        self._questions.forget(task.pid)
        self.policy._forget(task.pid)
        self._tell("exited", task.pid)
        self._fill()

    def run(self, time_ns: int) -> None:
        """Let virtual time pass."""
        end_ns = self._now_ns + time_ns
        while self._events and self._events[0][0] <= end_ns:
            self._now_ns, _, happen = heapq.heappop(self._events)
            happen()
        self._now_ns = end_ns
        for cpu in self._cpus.values():
            self._charge(cpu)

    def _at(self, in_ns: int, happen: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self._now_ns + in_ns, next(self._order), happen))

    def _log(self, text: str) -> None:
        self.trace.note(self._now_ns, text)

    def _clamped(self, slice_ns: int) -> int:
        return arithmetic.slice_within(slice_ns, self.slices.longest_ns)

    def _weighted(self, slice_ns: int, task: OfflineTask) -> int:
        return self._clamped(arithmetic.slice_of_weight(slice_ns, task.weight))

    def _idle_for(self, task: OfflineTask) -> _Cpu | None:
        near = [task.cpu, *self.topology.online]
        return next(
            (self._cpus[c] for c in near if c in task.cpus and not self._cpus[c].task), None
        )

    # On a CPU.

    def _start(self, cpu: _Cpu, task: OfflineTask) -> None:
        if task.enqueue_ns > task.start_ns:
            task.longest_wait_ns = max(task.longest_wait_ns, self._now_ns - task.enqueue_ns)
        cpu.task, task.cpu, task.where = task, cpu.number, "running"
        self._vtime_now_ns = max(self._vtime_now_ns, task.vtime_ns or 0)
        cpu.turn += 1
        task.start_ns = cpu.charged_ns = self._now_ns
        self._log(f"{task.name} runs on CPU {cpu.number} for up to {task.slice_ns / 1e6:g} ms")
        self._plan_end(cpu, task)

    def _plan_end(self, cpu: _Cpu, task: OfflineTask) -> None:
        until_ns = task.slice_ns
        if task.left_ns is not None:
            until_ns = min(until_ns, max(task.left_ns, 0))
        turn = cpu.turn
        self._at(until_ns, lambda: self._turn_ends(cpu, turn))

    def _charge(self, cpu: _Cpu) -> None:
        if cpu.task:
            ran_ns = self._now_ns - cpu.charged_ns
            cpu.task.ran(ran_ns)
            cpu.task.slice_ns -= ran_ns
        cpu.charged_ns = self._now_ns

    def _turn_ends(self, cpu: _Cpu, turn: int) -> None:
        task = cpu.task
        if task is None or cpu.turn != turn:
            return
        self._charge(cpu)
        if task.left_ns is not None and task.left_ns <= 0:
            self.sleep(task)
        elif self._queues.waiting(cpu.number, cpu.domain) or self._held:
            self._stop(cpu)
            self._enqueue(task)
            self._ask()
            self._fill()
        else:
            # Nobody waits: it goes on, and the policy does not hear of it.
            cpu.turn += 1
            task.slice_ns = self._weighted(self.slices.longest_ns, task)
            self._plan_end(cpu, task)

    def _stop(self, cpu: _Cpu) -> None:
        task = cpu.task
        assert task
        self._charge(cpu)
        cpu.task = None
        cpu.turn += 1
        self._tell("stopped", task.pid, self._now_ns - task.start_ns)
        task.enq_flags = 0

    def _leave(self, task: OfflineTask) -> None:
        """Out of its CPU or its queue."""
        if task.where == "running":
            self._stop(self._cpus[task.cpu])
        self._held.pop(task.pid, None)

    # Between CPUs.

    def _enqueue(self, task: OfflineTask) -> None:
        """Back into a queue when its decision still holds; else the policy is asked."""
        if not self._holds.go_on(task, self._now_ns):
            self._forward(task)
            return
        task.seq += 1
        task.enqueue_ns = self._now_ns
        self.counters["continued"] += 1
        queue = cpu_queue(min(task.cpus)) if len(task.cpus) == 1 else SHARED
        self._queue(task, queue)
        self._log(f"{task.name} goes on -> {queue}, for {task.slice_ns / 1e6:g} ms more")
        if task.enq_flags & WAKEUP:
            self._hurry(task, task.cpu)

    def _forward(self, task: OfflineTask) -> None:
        task.where = "held"
        self._held[task.pid] = task
        self._questions.add(task.record(self._now_ns))
        self.counters["forwarded"] += 1
        seq = task.seq
        self._at(self._lag_ns, lambda: self._lags(task, seq))

    def _lags(self, task: OfflineTask, seq: int) -> None:
        if task.seq == seq and self._held.get(task.pid) is task:
            self._log(f"{task.name} has waited too long for the policy")
            self._fall_back(task)
            self._fill()

    def _fall_back(self, task: OfflineTask) -> None:
        self.counters["fallback"] += 1
        del self._held[task.pid]
        task.slice_ns = self._weighted(self.slices.shortest_ns, task)
        self._queue(task, SHARED)

    def _queue(self, task: OfflineTask, queue: str) -> None:
        task.where = "queued"
        self._queues.put(queue, task)

    def _fill(self) -> None:
        """Idle CPUs take what there is: decided tasks, then held ones."""
        for cpu in self._cpus.values():
            if cpu.task:
                continue
            task = self._queues.take(cpu.number, cpu.domain)
            if task is None:
                held = (t for t in self._held.values() if cpu.number in t.cpus)
                task = next(held, None)
                if task is None:
                    continue
                self._fall_back(task)
                self._log(f"CPU {cpu.number} would idle")
                task = self._queues.take(cpu.number, cpu.domain)
                assert task
            self._start(cpu, task)

    # The policy.

    def _tell(self, method: str, pid: int, *more: int) -> None:
        if getattr(type(self.policy), method) is not getattr(Policy, method):
            getattr(self.policy, method)(pid, *more)
            self._carry_out([])

    def _tick(self) -> None:
        self._at(self.policy.interval_ns, self._tick)
        self.policy.tick()
        self._carry_out([])
        self._fill()

    def _ask(self) -> None:
        """Give the policy what has become runnable, and carry out what it decides."""
        if self._questions.being_asked:
            return
        for decided in self._questions.answers():
            self._carry_out(decided)
        self._fill()

    def _carry_out(self, decided: Any) -> None:
        flat = decided if isinstance(decided, list | tuple) else flat_decisions(decided)
        flat = [*self.pending, *flat]
        self.pending.clear()
        if len(flat) % _WIDTH:
            raise ValueError(f"{len(flat)} numbers are no decisions of {_WIDTH} each")
        for at in range(0, len(flat), _WIDTH):
            self._apply(*flat[at : at + _WIDTH])

    def _apply(
        self, seq: int, pid: int, cpu: int, slice_ns: int, vtime_ns: int, state: int, flags: int
    ) -> None:
        preempt = bool(flags & 1)
        if flags & _KICK:
            self._kick(cpu, preempt)
            return
        task = self.tasks.get(pid)
        late = task is None or self._held.get(pid) is not task or task.seq != seq
        name = task.name if task else "?"
        made = (self._now_ns, name, pid, cpu, slice_ns, vtime_ns, state, preempt, late)
        self.decisions.append(Decision(*made))
        if task is None or late:
            self.counters["late"] += 1
            return
        del self._held[pid]
        self.counters["decided"] += 1
        task.state = state
        task.vtime_ns = arithmetic.vtime_within(vtime_ns, self._vtime_now_ns)
        if arithmetic.is_no_slice(slice_ns, self.slices.longest_ns):
            self.counters["bad_decisions"] += 1
            slice_ns = 0
        least_ns = self._weighted(self.slices.shortest_ns, task)
        task.slice_ns = self._clamped(slice_ns) if slice_ns else least_ns
        self._holds.let_hold(task, cpu, self._now_ns)
        queue = self._place(task, cpu)
        self._queue(task, queue)
        self._log(f"{task.name} -> {queue}, vtime {vtime_ns}, slice {task.slice_ns / 1e6:g} ms")
        if preempt and queue == cpu_queue(cpu):
            self._kick(cpu, True)
        elif task.enq_flags & WAKEUP:
            self._hurry(task, cpu if queue == cpu_queue(cpu) else task.cpu)

    def _place(self, task: OfflineTask, cpu: int) -> str:
        if cpu in self._cpus:
            if cpu in task.cpus:
                return cpu_queue(cpu)
            self.counters["bounced"] += 1
        elif -2 - NR_DOMAINS < cpu <= -2:
            domain = -2 - cpu
            if any(self._cpus[c].domain == domain for c in task.cpus):
                return domain_queue(domain)
            self.counters["bounced"] += 1
        elif cpu != CPU_ANY:
            self.counters["bad_decisions"] += 1
        return cpu_queue(min(task.cpus)) if len(task.cpus) == 1 else SHARED

    def _hurry(self, task: OfflineTask, number: int) -> None:
        """A task that woke up interrupts one that is due later by more than the margin."""
        running = self._cpus[number].task
        if running is None or number not in task.cpus:
            return
        ran_ns = self._now_ns - running.start_ns
        due_ns = running.vtime_ns
        if due_ns is None:  # it never had to wait: after all that do
            due_ns = self._vtime_now_ns + self.slices.longest_ns
        assert task.vtime_ns is not None
        margin_ns = self.policy.margin_ns or self.slices.shortest_ns
        if ran_ns > 0 and arithmetic.is_due_later(due_ns, ran_ns, task.vtime_ns, margin_ns):
            self._kick(number, True)

    def _kick(self, number: int, preempt: bool) -> None:
        cpu = self._cpus.get(number)
        if cpu is None:
            self.counters["bad_decisions"] += 1
        elif preempt and cpu.task:
            task = cpu.task
            self._log(f"{task.name} makes room on CPU {number}")
            self._stop(cpu)
            self._enqueue(task)
            taken = self._queues.take(cpu.number, cpu.domain)
            if taken:
                self._start(cpu, taken)
            self._ask()
