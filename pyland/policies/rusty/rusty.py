# SPDX-License-Identifier: GPL-2.0-only
"""The policy: virtual time in each domain, a tuner every 100 ms, a balancer every 2 s."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

from pyland.policies.rusty.balance import DomainLoad, TaskLoad, balance, build
from pyland.policies.rusty.homes import homes, in_turns
from pyland.policies.rusty.latency import (
    DUE_DENOMINATOR,
    DUE_NUMERATOR,
    RUN_MAX_NS,
    due_after_ns,
)
from pyland.policies.rusty.load import decayed, domain_loads, duty_sums, feasible_limit
from pyland.policies.rusty.options import RustyOptions
from pyland.policies.rusty.placing import Placing
from pyland.policies.rusty.seen import Generations, Seen
from pyland.policy import Batch, Interim, domain_queue

# V starts here, so that a state of 0 means "no state yet".
_ORIGIN_NS = 1 << 36
_SECOND_NS = 1_000_000_000
# scx_rusty asks for 99.999 % of /proc/stat's time. Here only the CPU time of tasks is known: that
# of user space and of switches is missing. Less is enough while each CPU has a runnable task.
_FULL, _FULL_WITH_ENOUGH = 0.98, 0.85


class Rusty(RustyOptions):
    """A queue for each cache, tasks balanced between them by load (scx_rusty).

    In each domain the task with the earliest deadline runs first: its virtual time plus a
    part of its usual run, the smaller the more it is in the middle of a chain of tasks that
    wake each other. A domain's tasks run on its CPUs, and on others when these would idle.
    The balancer moves tasks for good. docs/rusty.md has what differs from scx_rusty 1.1.2.
    """

    fields = (
        *("seq", "pid", "cpu", "nr_cpus_allowed", "weight", "used_ns", "awake_runtime_ns"),
        *("wakeup_ns", "enqueue_ns", "state", "comm"),
        *("sleep_interval_ns", "waker_interval_ns", "average_runtime_ns"),
    )
    lasts_ns = 100_000_000
    # With four, tasks that compute have them in a row, and wait for as long (offline, 40 tasks on
    # two CPUs: 57 ms; with two 38, with one 19).
    lasts_slices = 2
    interim: Interim = "vtime"
    exact_slices = False

    def __init__(self) -> None:
        """Read the options. Raises UsageError for what cannot be had here."""
        self.check_options()
        machine = self.machine
        self.homes = homes(machine.topology, self.cpumasks)
        self.interval_ns = int(self.tune_interval * _SECOND_NS)
        if self.fifo_sched:
            self.interim = "arrival"
        nr = len(self.homes)
        self._home_of = {
            cpu: number
            for number, home in enumerate(self.homes)
            for cpu in machine.topology.online
            if home.cpus >> cpu & 1
        }
        self._next_home = cycle(in_turns(self.homes))
        self._nr_cpus = len(machine.topology.online)
        self._everywhere = (1 << nr) - 1
        self._queues = [domain_queue(number) for number in range(nr)]
        self._vtimes = [_ORIGIN_NS + _SECOND_NS] * nr
        self._tasks = Generations()
        self._half_life_ns = int(self.load_half_life * _SECOND_NS)
        # A task uses more than this only while no other task waits: that is no debt.
        self._debt_ns = max(self.slice_us_underutil * 1000, machine.slices.longest_ns)
        self._fully_utilised = False
        self._placing = Placing(machine, self.homes)
        self._nr_runnable = [0.0] * nr
        self._used_ns = [self._placing.sums(number)[2] for number in range(nr)]
        self._tuned_ns = self._balanced_ns = machine.now_ns
        self._deltas = [0.0] * nr
        if self.perf:
            for cpu in machine.topology.online:
                machine.set_performance(cpu, self.perf)
        self._placing.set_spills([0.0] * nr, self)
        self._prepare(self.slice_us_underutil)

    def decide(self, batch: Batch) -> list[int]:
        """Decide every task at once; its state is its virtual time.

        Instructions (callgrind, Python 3.11): 8,000 for one task, 5,400 for each further one, and
        3,000 more if its intervals have changed.
        """
        # One tuple for all: to read one attribute takes as long as to unpack five items.
        young, queues, vtimes, slice_ns, debt_ns, fifo, nr_cpus, half_life_ns = self._reads
        clamped = 0
        out: list[int] = []
        for (
            seq, pid, cpu, nr_allowed, weight, used_ns, awake_ns, wakeup_ns, enqueue_ns, state,
            comm, sleeps_ns, wakes_ns, average_ns,
        ) in batch.rows:  # fmt: skip
            seen = young.get(pid)
            if seen is None or not state:
                seen = self._meet(pid, cpu, state, enqueue_ns, comm)
            # A task that slept was runnable since it woke up. Of the time before that only the CPU
            # time is known: waiting is not counted there. A call costs as much as all of this.
            since_ns = seen.since_ns
            if wakeup_ns <= since_ns:
                seen.runnable_ns += enqueue_ns - since_ns
            else:
                before_ns = used_ns - awake_ns
                seen.runnable_ns += enqueue_ns - wakeup_ns + (before_ns if before_ns > 0 else 0)
            seen.since_ns = enqueue_ns
            if enqueue_ns >= seen.fold_at_ns:
                seen.fold(enqueue_ns, half_life_ns)
            if nr_allowed < nr_cpus or seen.restricted:
                self._restrict(seen, cpu, nr_allowed)
            number = seen.domain
            vtime_ns = vtime_now = vtimes[number]
            if seen.moved or not state:
                seen.moved = False
            else:
                if state > vtime_now:
                    vtimes[number] = vtime_now = state
                # A heavy task's virtual time advances more slowly: so much CPU time may be its own.
                paid_ns = used_ns if weight <= 100 else used_ns * 100 // weight
                if paid_ns > debt_ns:
                    paid_ns = debt_ns
                vtime_ns = state + (paid_ns if weight >= 100 else paid_ns * 100 // weight)
                if vtime_ns < vtime_now - slice_ns:
                    vtime_ns = vtime_now - slice_ns
                    clamped += 1
            if fifo:
                key_ns, seen.weight = enqueue_ns, weight
            else:
                # The average does not have the run that goes on, which may be longer.
                run_ns = average_ns if average_ns > awake_ns else awake_ns
                if run_ns > RUN_MAX_NS:
                    run_ns = RUN_MAX_NS
                if (
                    seen.sleeps_ns != sleeps_ns
                    or seen.wakes_ns != wakes_ns
                    or seen.weight != weight
                ):
                    seen.note_intervals(sleeps_ns, wakes_ns, weight)
                if run_ns < seen.interactive_ns:
                    key_ns = vtime_ns + due_after_ns(run_ns, seen.rank, weight)
                else:
                    key_ns = vtime_ns + run_ns * DUE_NUMERATOR // DUE_DENOMINATOR
            out += (seq, pid, queues[number], slice_ns, key_ns, vtime_ns, 0)
        if clamped:
            self.machine.count("dl_clamp", clamped)
        return out

    def _prepare(self, slice_us: int) -> None:
        """From here on this is the slice; all that `decide` reads is put together anew."""
        self._reads = (
            *(self._tasks.young, self._queues, self._vtimes, slice_us * 1000, self._debt_ns),
            *(self.fifo_sched, self._nr_cpus, self._half_life_ns),
        )

    def _meet(self, pid: int, cpu: int, state: int, now_ns: int, comm: bytes) -> Seen:
        """What is known of a task that is new, or that had no record for a while."""
        seen = self._tasks.find(pid) if state else None
        if seen is None:
            # A new task has little in any cache; one that is only forgotten has.
            home = self._home_of.get(cpu, 0) if state else next(self._next_home)
            seen = Seen(home, now_ns)
            seen.allowed = self._everywhere
            seen.fixed = comm.startswith(b"kworker/") and self.balanced_kworkers
            self._tasks.add(pid, seen)
            # Rusty does not know of which domain its virtual time is, so the task gets a new one.
            seen.moved = True
        return seen

    def _restrict(self, seen: Seen, cpu: int, nr_allowed: int) -> None:
        """A task that may not use all CPUs stays in the domain where it ran last."""
        # A task without limits may use all CPUs that can ever come, also those that are offline.
        seen.restricted = nr_allowed < self._nr_cpus
        seen.allowed = self._everywhere
        if seen.restricted:
            home = self._home_of.get(cpu, seen.domain)
            seen.allowed = 1 << home
            if home != seen.domain:
                seen.domain, seen.moved = home, True

    def tick(self) -> None:
        """The tuner's look, and the balancer's round when it is due."""
        now_ns = self.machine.now_ns
        passed_ns = now_ns - self._tuned_ns
        if passed_ns <= 0:
            return
        self._tuned_ns = now_ns
        self._tune(passed_ns)
        if now_ns - self._balanced_ns >= self.interval * _SECOND_NS:
            self._balanced_ns = now_ns
            self._balance()
            self._tasks.age()

    def _tune(self, passed_ns: int) -> None:
        """Measure the domains; slices and greed follow from how busy they are."""
        placing = self._placing
        unplaced = self._unplaced()
        busy: list[float] = []
        for number, home in enumerate(self.homes):
            nr, weight, used_ns, _ = placing.sums(number)
            busy.append((used_ns - self._used_ns[number]) / (passed_ns * home.nr_cpus))
            self._used_ns[number] = used_ns
            # Tasks that end within their first slice are not seen again, and would keep V where it
            # is: so it follows the clock, at half of what is fair or a sixteenth of the time.
            fair = 100 * home.nr_cpus
            weight = max(weight + 100 * unplaced[number], fair)
            self._vtimes[number] += passed_ns * max(fair * 8 // weight, 1) // 16
            before, nr = self._nr_runnable[number], nr + unplaced[number]
            self._nr_runnable[number] = decayed(before, nr, passed_ns, self._half_life_ns)
        total = sum(part * home.nr_cpus for part, home in zip(busy, self.homes, strict=True))
        utilised = total / self._nr_cpus
        # Averages come close to the number of tasks, and do not reach it.
        enough = sum(self._nr_runnable) > self._nr_cpus - 0.5
        self._fully_utilised = utilised >= (_FULL_WITH_ENOUGH if enough else _FULL)
        slice_us = self.slice_us_overutil if self._fully_utilised else self.slice_us_underutil
        self._prepare(slice_us)
        self._placing.set_spills(busy, self)
        self.machine.gauge("slice_us", slice_us)
        self.machine.gauge("cpu_busy", 100 * utilised)

    def _unplaced(self) -> list[int]:
        """For each domain, how many tasks run there that were never decided.

        Such a task found an idle CPU whenever it became runnable. The gauges do not count it.
        """
        nr = [0] * len(self.homes)
        for pid, number in zip(self._pids(), self._home_of.values(), strict=True):
            if pid and not self._tasks.knows(pid):
                nr[number] += 1
        return nr

    def _balance(self) -> None:
        """One round of the balancer; what it moved and what is left are gauges."""
        loads, limit = self._loads()
        nodes = build(
            [
                DomainLoad(loads[number], home.nr_cpus, home.node, self._movable(number, limit))
                for number, home in enumerate(self.homes)
            ]
        )
        moves = [] if self.no_load_balance else balance(nodes)
        young = self._tasks.young
        for move in moves:
            seen = young[move.pid]
            seen.domain, seen.moved = move.target, True
            # The averages follow the task at once: else the next round would move as much again.
            self._nr_runnable[move.source] -= seen.duty
            self._nr_runnable[move.target] += seen.duty
        machine = self.machine
        machine.gauge("feasible_weight", limit)
        if moves:
            machine.count("migrations", len(moves))
        machine.gauge("load", sum(loads))
        for at, node in enumerate(nodes):
            for name, place in (
                (f"node{at}", node),
                *((f"domain{one.number}", one) for one in node.domains),
            ):
                machine.gauge(f"{name}_load", place.load)
                machine.gauge(f"{name}_imbalance", place.imbalance)
                machine.gauge(f"{name}_delta", place.delta)

    def _loads(self) -> tuple[list[float], float]:
        """The load of each domain, and the highest weight that counts in full.

        While a CPU idles each task counts with weight 100. Otherwise it counts with its weight, or
        with the limit if its weight is infeasible. What runs and is not known here counts as 100.
        """
        if not self._fully_utilised:
            return [100.0 * nr for nr in self._nr_runnable], 0.0
        tasks = list(self._tasks.young.values())
        for seen in tasks:
            seen.fold(seen.since_ns, self._half_life_ns)
        known = [(seen, seen.duty) for seen in tasks]
        # A task that has a CPU to itself has no record, and runs all the time.
        known += [(seen, 1.0) for seen in self._tasks.running_old(self._pids())]
        limit = feasible_limit(
            duty_sums((seen.weight, duty) for seen, duty in known), self._nr_cpus
        )
        placed = [(seen.domain, seen.weight, duty) for seen, duty in known]
        return domain_loads(placed, self._nr_runnable, limit), limit

    def _pids(self) -> Iterator[int]:
        """The tasks that run at this moment."""
        return (self.machine.cpu(cpu).pid for cpu in self._home_of)

    def _movable(self, number: int, limit: float) -> list[TaskLoad]:
        """The domain's tasks that ran since the last round; with limit 0 all have weight 100."""
        return [
            TaskLoad(pid, seen.duty * (min(seen.weight, limit) if limit else 100.0), seen.allowed)
            for pid, seen in self._tasks.young.items()
            if seen.domain == number and not seen.fixed
        ]
