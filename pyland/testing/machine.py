# SPDX-License-Identifier: GPL-2.0-only
"""The way of a task between CPUs, queues and policy, as bpf/pyland.bpf.c has it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from pyland.decision import KICK, PREEMPT, Decision, flat_decisions
from pyland.machine import Slices
from pyland.policy import Policy, forget
from pyland.task import WAKEUP
from pyland.testing import arithmetic
from pyland.testing.checks import checked_slice_ns, weighted_slice_ns
from pyland.testing.cpus import Cpu
from pyland.testing.grants import Grants
from pyland.testing.placement import Placement
from pyland.testing.preemption import Preemption
from pyland.testing.questions import Questions
from pyland.testing.queues import cpu_queue
from pyland.testing.task import OfflineTask
from pyland.testing.trace import Decided, Trace
from pyland.testing.view import OfflineView
from pyland.topology import Topology


class OfflineMachine(OfflineView):
    """A machine with a virtual clock that a policy schedules.

    A task that wakes up runs at once if a CPU idles; else the policy is asked. Its decisions
    take effect immediately: here Python takes no time. A task that is held for longer than
    `lag_ns` runs without the policy. Slices end exactly, where a kernel waits for its tick.
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
        """A machine on which no task runs yet; `options` are the policy's."""
        super().__init__(topology, slices, seed)
        self._placement = Placement(self._cpus, self.domains, self._queues)
        self._held: dict[int, OfflineTask] = {}
        self._lag_ns = lag_ns
        self.decisions: list[Decided] = []
        self.trace = Trace()
        self.counters: Counter[str] = Counter()
        """`direct`, `forwarded`, `decided`, `continued`, `fallback`, `late`, `bounced` and
        `bad_decisions`: how often each happened."""
        self.policy = policy.create(self, **options)
        self._preemption = Preemption(
            self._cpus, self._placement, self.policy.margin_ns, self.slices.longest_ns
        )
        self._questions = Questions(self.policy)
        self._grants = Grants(self.policy, self.slices.longest_ns)
        if self.policy.interval_ns:
            self._clock.after(self.policy.interval_ns, self._tick)

    def wake(self, task: OfflineTask) -> None:
        """Wake a task up; no effect on a task that is awake or gone."""
        if task.where != "asleep":
            return
        self._log(f"{task.name} wakes up")
        task.woken(self.now_ns)
        self._questions.count(task, 1)
        if (idle := self._placement.idle_for(task)) is not None:
            task.slice_left_ns = weighted_slice_ns(self.slices.longest_ns, task, self.slices)
            self.counters["direct"] += 1
            self._start(idle, task)
        else:
            self._enqueue(task)
            self._ask()
            self._fill()

    def sleep(self, task: OfflineTask) -> None:
        """Put a task to sleep, wherever it is."""
        if not task.runnable:
            return
        self._leave(task)
        task.asleep(self.now_ns)
        self._log(f"{task.name} sleeps")
        self._tell("slept", task.pid)
        if task.sleeps_ns is not None:
            self._clock.after(task.sleeps_ns, lambda: self.wake(task))
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
        forget(self.policy, task.pid)
        self._tell("exited", task.pid)
        self._fill()

    def run(self, time_ns: int) -> None:
        """Let virtual time pass."""
        self._clock.run(time_ns)
        for cpu in self._cpus:
            self._cpus.charge(cpu)

    def _log(self, text: str) -> None:
        self.trace.note(self.now_ns, text)

    # On a CPU.

    def _start(self, cpu: Cpu, task: OfflineTask) -> None:
        self._cpus.start(cpu, task)
        slice_ms = task.slice_left_ns / 1e6
        self._log(f"{task.name} runs on CPU {cpu.number} for up to {slice_ms:g} ms")

    def _stop(self, cpu: Cpu) -> None:
        task = self._cpus.stop(cpu)
        self._tell("stopped", task.pid, self.now_ns - task.start_ns)

    def _turn_ends(self, cpu: Cpu) -> None:
        task = cpu.task
        assert task
        if task.awake_left_ns is not None and task.awake_left_ns <= 0:
            self.sleep(task)
        elif (
            self._placement.waits_for(cpu.number)
            or self._held
            or not self._placement.may_take(cpu.number, task)
            or self._is_asked_anew(task)
        ):
            self._stop(cpu)
            self._enqueue(task)
            self._ask()
            self._fill()
        else:
            # No task waits: this one runs on, and the policy is not told.
            longest_ns = weighted_slice_ns(self.slices.longest_ns, task, self.slices)
            self._cpus.extend(cpu, task, longest_ns)

    def _is_asked_anew(self, task: OfflineTask) -> bool:
        """True if its domain wants it decided, and its last decision is over."""
        return self._placement.asks_first(task) and not self._grants.lasts(task, self.now_ns)

    def _leave(self, task: OfflineTask) -> None:
        """Take a task that stops being runnable off its CPU, or out of its queue."""
        self._questions.count(task, -1)
        if task.where == "running":
            self._stop(self._cpus[task.cpu])
        self._queues.drop(task)
        self._held.pop(task.pid, None)

    # Between CPUs.

    def _enqueue(self, task: OfflineTask) -> None:
        """Queue the task if it continues an earlier decision; else hold it and ask."""
        if not self._grants.renew(task, self.now_ns):
            self._forward(task)
            return
        task.seq += 1
        task.enqueue_ns = self.now_ns
        self.counters["continued"] += 1
        queue = self._placement.queue_of(task)
        self._queue(task, queue)
        self._log(f"{task.name} continues -> {queue}, for {task.slice_left_ns / 1e6:g} ms more")
        if task.enq_flags & WAKEUP:
            self._preempt_for(task, task.cpu)

    def _forward(self, task: OfflineTask) -> None:
        task.where = "held"
        self._held[task.pid] = task
        self._questions.add(task.record(self.now_ns))
        self.counters["forwarded"] += 1
        seq = task.seq
        self._clock.after(self._lag_ns, lambda: self._lags(task, seq))

    def _lags(self, task: OfflineTask, seq: int) -> None:
        if task.seq != seq or task.pid not in self._held:
            return
        self._ask(held=True)
        if task.pid in self._held:
            self._log(f"{task.name} has waited too long for the policy")
            self._fall_back(task)
        self._fill()

    def _fall_back(self, task: OfflineTask) -> None:
        self.counters["fallback"] += 1
        del self._held[task.pid]
        task.slice_left_ns = weighted_slice_ns(self.slices.shortest_ns, task, self.slices)
        self._queue(task, self._placement.queue_of(task))

    def _queue(self, task: OfflineTask, queue: str) -> None:
        task.where = "queued"
        self._queues.put(queue, task)

    def _fill(self) -> None:
        """Give idle CPUs a task: a decided one, else one that the policy holds."""
        for cpu in self._cpus:
            if not cpu.task and (task := self._next_for(cpu)):
                self._start(cpu, task)

    def _next_for(self, cpu: Cpu) -> OfflineTask | None:
        task = self._placement.take(cpu.number)
        if task is None and self._held:
            self._ask(held=True)
            task = self._placement.take(cpu.number)
        if task is None:
            held = self._held.values()
            task = next((t for t in held if self._placement.may_take(cpu.number, t)), None)
            if task:
                self._fall_back(task)
                self._log(f"CPU {cpu.number} would idle")
                task = self._placement.take(cpu.number)
        return task

    # The policy.

    def _act(self) -> None:
        self._carry_out([])
        self._fill()

    def _tick(self) -> None:
        self._clock.after(self.policy.interval_ns, self._tick)
        self.policy.tick()
        self._act()

    def _tell(self, method: str, pid: int, *more: int) -> None:
        if self.policy.hears(method):
            getattr(self.policy, method)(pid, *more)
            self._carry_out([])

    def _ask(self, *, held: bool = False) -> None:
        """Show the policy the tasks that became runnable, and carry out its decisions.

        With `held` it is asked at least once about the tasks that it holds.
        """
        if not self._questions.being_asked:
            for decided in self._questions.answers(held=held):
                self._carry_out(decided)

    def _carry_out(self, decided: Any) -> None:
        flat = [*self.outgoing, *flat_decisions(decided)]
        self.outgoing.clear()
        for decision in Decision.each_of(flat):
            if decision.flags & KICK:
                self._kick(decision.cpu, bool(decision.flags & PREEMPT))
            else:
                self._apply(decision)

    def _apply(self, decision: Decision) -> None:
        seq, pid, cpu, slice_ns, vtime_ns, state, flags = decision
        preempt = bool(flags & PREEMPT)
        task = self.tasks.get(pid)
        late = task is None or self._held.get(pid) is not task or task.seq != seq
        name = task.name if task else "?"
        made = (self.now_ns, name, pid, cpu, slice_ns, vtime_ns, state, preempt, late)
        self.decisions.append(Decided(*made))
        if task is None or late:
            self.counters["late"] += 1
            return
        del self._held[pid]
        self.counters["decided"] += 1
        task.decided(state)
        task.vtime_ns = arithmetic.vtime_within(vtime_ns, self._cpus.vtime_now_ns)
        task.slice_left_ns, wrong_slice = checked_slice_ns(slice_ns, task, self.slices)
        task.place, wrong_cpu = self._placement.checked(cpu, task)
        queue = self._placement.queue_of(task)
        self.counters.update(filter(None, (wrong_slice, wrong_cpu)))
        self._grants.note(task, 0 if wrong_cpu else cpu, self.now_ns)
        self._queue(task, queue)
        slice_ms = task.slice_left_ns / 1e6
        self._log(f"{task.name} -> {queue}, vtime {vtime_ns}, slice {slice_ms:g} ms")
        if preempt and queue == cpu_queue(cpu):
            self._kick(cpu, True)
        elif task.enq_flags & WAKEUP:
            self._preempt_for(task, cpu if queue == cpu_queue(cpu) else task.cpu)

    def _preempt_for(self, task: OfflineTask, number: int) -> None:
        """Let a task that woke up preempt another one, on the CPU `number` or by rank."""
        cpu = self._preemption.cpu_for(task, number, self.now_ns)
        if cpu is not None:
            self._kick(cpu, True)

    def _kick(self, number: int, preempt: bool) -> None:
        if number not in self._cpus:
            self.counters["bad_decisions"] += 1
            return
        cpu = self._cpus[number]
        if preempt and cpu.task:
            task = cpu.task
            self._log(f"{task.name} makes room on CPU {number}")
            self._stop(cpu)
            self._enqueue(task)
            if taken := self._placement.take(cpu.number):
                self._start(cpu, taken)
            self._ask()
