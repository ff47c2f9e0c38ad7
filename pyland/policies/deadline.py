# SPDX-License-Identifier: GPL-2.0-only
"""Fair shares by weight, with a head start for tasks that sleep a lot.

The order is that of scx_rustland 1.1.2. A task's virtual time grows by its CPU time divided
by its weight; a task that slept comes back at most one slice behind the queue; the key is the
virtual time plus the CPU time since the task last slept. So a task that wakes up, does little
and sleeps again runs before tasks that compute. Three things differ:

- Of that CPU time one longest slice counts at most, in scx_rustland a hundred. More would let
  a task that computes wait behind the others for as long again (schbench, four threads for
  each CPU, 99th percentile of a request: 780 ms with 100 ms, 440 ms with 20 ms).
- A task that has just woken up is ahead by another longest slice, for one slice: it answers
  soon even if it has had much CPU time, and then computes in its turn. A task that has never
  run has no such start: a process that makes many tasks would be ahead of all others.
- V, the queue's virtual time, advances as a fair share would: by the time that passed on all
  busy CPUs, divided by the weight of all runnable tasks. In scx_rustland V is the sum of what
  every task used. It runs away from each task, every task is clamped to V minus one slice, and
  shares follow the slices alone, which the kernel's tick rounds to 4 ms. Here virtual times
  keep their meaning, and weights hold on any tick.

V follows the clock, not the CPU time that tasks are seen to use: a task that ends within its
first slice is never seen again, and an endless stream of such tasks would let a task that
computes wait for ever. V never advances slower than by a twentieth of the time (shortest over
longest slice). If a task is ahead of V, V follows it by that task's part of the machine only:
newcomers begin at V, and must not wait because one task ran alone for long. Such a task is at
most two longest slices ahead. V is too fast where tasks do not get all CPUs: they may be bound
to one of them, or higher classes and user space have a part. Then all tasks would be as far
behind V as they may be, which makes them equal, and a light one among them would have too much
(weights of 1 to 100 with slices of 100 us: 0.017 of two CPUs, and not 0.010). So V is held
back by the part of each task that is further behind than one longest slice although it did not
sleep.

CPU time beyond one longest slice since the last record was used while no other task waited, so it
is no debt. For a light task this is a longest slice at its weight, but not less than four shortest
slices: a task that moves to a light cgroup has used that time at its former weight, and would wait
as if it had used it at the present one (20 ms at a weight of 2 among 700: for 3.5 s).

In a crowd of more than 16 tasks for each CPU, all these distances from V shrink with the
number, so that the debts to all tasks never take longer than 16 longest slices to pay: 20 ms
for each of 10,000 tasks would be minutes, and the task that is to wake the others would wait
for them (10,000 threads began after more than 100 s; after 8 s with the default scheduler).
"""

from __future__ import annotations

from functools import lru_cache

from pyland.errors import UsageError
from pyland.policies import llcs
from pyland.policies.llcs import Llcs
from pyland.policy import CPU_ANY, Batch, Decision, Interim, Policy, TaskPool, option

# V starts this far from zero, so that a state of 0 means "no state yet".
_ORIGIN_NS = 1 << 32
_RATE_SHIFT = 20
# With more tasks than this for each CPU, their distances from V shrink with their number.
_CROWD = 16
# What a light task used counts up to so many shortest slices. Its turn mostly lasts for a tenth of
# one, but one turn in ten for two to four (groups of weight 1, 100 and 10,000 on two CPUs: that of
# 100 has 0.0125 to 0.0134 of them if two are counted, with four 0.0097 to 0.0099; 0.0099 is fair).
_TURN_SLICES = 4
# With so many CPUs, tasks that compute have slices of twice the length: half as many switches (on
# eight CPUs, 32 of them do 0.976 of the work that they do under the default scheduler, with single
# slices 0.944). A task that may not interrupt them soon finds a CPU whose slice ends. No slice is
# longer than half of a longest one for that, and heavy tasks have long ones already.
_MANY_CPUS = 4


# The load changes with each sleep and wakeup, mostly among a few values. Computing the distances
# takes 6,000 instructions, looking them up 500.
@lru_cache(maxsize=256)
def _distances(
    longest_ns: int, shortest_ns: int, nr_cpus: int, nr_runnable: int, weight_runnable: int
) -> tuple[int, int, int, int, int, int, int, int]:
    """Slices, distances and rates that follow from the number and the weight of all tasks."""
    slice_ns = reach_ns = longest_ns
    doubled = 0
    if nr_runnable > nr_cpus:
        share_ns = longest_ns * nr_cpus // nr_runnable
        # Every task has a turn within half of the longest slice, or a whole one if they double.
        slice_ns = max(share_ns // 2, 2 * shortest_ns)
        doubled = int(nr_cpus >= _MANY_CPUS and 4 * shortest_ns <= share_ns <= longest_ns // 2)
        reach_ns = min(_CROWD * share_ns, longest_ns)
    # V advances at least this much per time. All rates are in 2**-20.
    least_rate = (shortest_ns << _RATE_SHIFT) // longest_ns
    rate = (100 << _RATE_SHIFT) // weight_runnable
    pull = min(rate, 1 << _RATE_SHIFT)
    rate = max(rate * min(nr_runnable, nr_cpus), least_rate)
    return longest_ns, slice_ns, doubled, reach_ns, -reach_ns, 2 * reach_ns, rate, pull


class Deadline(Policy):
    """Fair shares by weight; a task that wakes up and does little goes first (scx_rustland).

    Tasks are decided as soon as they are seen, and BPF's queue sorts them: 475 ns per task
    at batches of 64, against 720 with a heap in Python. With `order=python` they are sorted
    here.
    """

    fields = ("seq", "pid", "cpu", "weight", "used_ns", "awake_runtime_ns", "state")
    lasts_ns = 100_000_000
    lasts_slices = 2
    interim: Interim = "vtime"

    percpu_local: bool = option(False, "keep a task on the CPU where it ran last")
    order: str = option("kernel", "where waiting tasks are sorted", choices=("kernel", "python"))
    depth: int = option(0, "decided tasks that wait, with order=python; 0: one per CPU", least=0)
    llc: str = option("kernel", "what picks a task's cache", choices=("kernel", "python"))
    hold_us: int = option(10_000, "longest wait for a decision, with order=python", least=0)

    def __init__(self) -> None:
        """V starts behind the origin, so that every distance from it fits."""
        slices = self.machine.slices
        self._longest_ns, self._shortest_ns = slices.longest_ns, slices.shortest_ns
        self.margin_ns = 3 * slices.longest_ns // 2
        self.resized()
        self._clock_ns = self.machine.now_ns
        self._vtime_now = _ORIGIN_NS + 100 * slices.longest_ns
        if self.order == "python":
            self.interim = "hold"
        if self.llc == "python":
            if self.order == "python" or self.percpu_local:
                raise UsageError("deadline: llc=python needs order=kernel, and no percpu_local")
            self.more_fields = llcs.FIELDS
        self._pool: TaskPool[Decision] | None = TaskPool() if self.order == "python" else None
        self._since_ns: dict[int, int] = {}  # when each task of the pool came, oldest first
        self._handed_out_ns = 0  # the highest key of the tasks that wait in the kernel

    def resized(self) -> None:
        """Slices and distances follow the number of CPUs."""
        self._nr_cpus = len(self.machine.topology.online)
        self._depth = self.depth or self._nr_cpus
        self._llcs = Llcs(self.machine) if self.llc == "python" else None
        self._nr_runnable = self._weight_runnable = 0  # so that `_look` is called again

    def _look(self, batch: Batch) -> None:
        """Look the distances up for a load that has changed."""
        self._nr_runnable, self._weight_runnable = batch.nr_runnable, batch.weight_runnable
        distances = _distances(
            self._longest_ns,
            self._shortest_ns,
            self._nr_cpus,
            batch.nr_runnable,
            batch.weight_runnable,
        )
        # What changes the decisions, or None.
        finish = None
        if self._pool is not None:
            finish = self._hand_out
        elif self._llcs is not None:
            finish = self._llcs.place
        # One tuple for all: to read one attribute takes as long as to unpack five items.
        turn_ns = _TURN_SLICES * self._shortest_ns
        self._load = (*distances, turn_ns, self.percpu_local, finish)

    def decide(self, batch: Batch) -> list[int]:
        """Decides every task at once; its state is its virtual time.

        Instructions (callgrind, Python 3.11): 6,300 for one task, 3,500 for each further one.
        A call of min() takes 1,000, an attribute 50. A comparison of numbers above 2**30
        takes 200, so distances from V are compared and not virtual times. A list that is
        built whole takes 400 less than one that is extended.
        """
        if batch.weight_runnable != self._weight_runnable or batch.nr_runnable != self._nr_runnable:
            self._look(batch)
        (
            longest_ns,
            slice_ns,
            doubled,
            reach_ns,
            behind_ns,
            far_ns,
            rate,
            pull,
            turn_ns,
            local,
            finish,
        ) = self._load
        clock_ns = batch.now_ns
        passed_ns = clock_ns - self._clock_ns
        self._clock_ns = clock_ns
        # V advances for one longest slice at most: if no task was decided for longer, none waited.
        if passed_ns > longest_ns:
            passed_ns = longest_ns
        vtime_now = self._vtime_now + (passed_ns * rate >> _RATE_SHIFT)
        out: list[int] = []
        for seq, pid, cpu, weight, used_ns, awake_ns, state in batch.rows:
            if weight == 100:
                mine_ns = slice_ns
                paid_ns = used_ns if used_ns < longest_ns else longest_ns
            else:
                mine_ns = slice_ns * weight // 100
                most_ns = longest_ns * weight // 100
                if most_ns < turn_ns:
                    most_ns = turn_ns
                paid_ns = (used_ns if used_ns < most_ns else most_ns) * 100 // weight
            if awake_ns:
                if awake_ns < reach_ns:
                    key_ns = awake_ns
                else:
                    key_ns = reach_ns
                    if weight <= 100:
                        mine_ns <<= doubled
            else:
                key_ns = behind_ns if state or used_ns else 0
            ahead_ns = state - vtime_now
            if ahead_ns > 0:
                pulled_ns = ahead_ns * pull >> _RATE_SHIFT
                if weight != 100:
                    pulled_ns = min(pulled_ns * weight // 100, ahead_ns)
                vtime_now += pulled_ns
                ahead_ns -= pulled_ns
                if ahead_ns > far_ns:
                    ahead_ns = far_ns
            elif ahead_ns < behind_ns:
                if state and 0 < awake_ns >= used_ns:
                    # A task that did not sleep is far behind V: V was too fast, and advances less.
                    late_ns = behind_ns - ahead_ns
                    held_ns = late_ns * pull >> _RATE_SHIFT
                    if weight != 100:
                        held_ns = min(held_ns * weight // 100, late_ns)
                    least_ns = self._vtime_now + passed_ns * self._shortest_ns // longest_ns
                    held_ns = min(held_ns, max(vtime_now - least_ns, 0))
                    vtime_now -= held_ns
                    ahead_ns = max(ahead_ns + held_ns, -far_ns)
                else:
                    # What a task used before V went on without it is no debt, and what a new
                    # task used is none: no other task waited while it ran.
                    if state:
                        late_ns = behind_ns - ahead_ns
                        ahead_ns = behind_ns - (paid_ns if paid_ns < late_ns else late_ns)
                    else:
                        ahead_ns = -paid_ns
            # Small numbers are added first: a sum above 2**30 takes twice as long.
            vtime_ns = vtime_now + (ahead_ns + paid_ns)
            decision = [
                seq,
                pid,
                cpu if local else CPU_ANY,
                mine_ns,
                vtime_ns + key_ns,
                vtime_ns,
                0,
            ]
            if out:
                out += decision
            else:
                out = decision
        self._vtime_now = vtime_now
        return out if finish is None else finish(batch, out)

    def _hand_out(self, batch: Batch, decided: list[int]) -> list[int]:
        """Adds decisions to the pool, and takes the first ones out until `depth` tasks wait.

        It is called again and again while the pool has tasks. A task that is due before one
        that was handed out follows at once. So does a task that has been here for `hold_us`:
        the kernel side runs it without a decision after `--lag-us`.
        """
        since_ns, now_ns, pool = self._since_ns, batch.now_ns, self._pool
        assert pool is not None
        for decision in Decision.each_of(decided):
            pool.add(decision, decision.vtime_ns)
            since_ns.pop(decision.pid, None)
            since_ns[decision.pid] = now_ns
        waiting = batch.nr_runnable - self._nr_cpus - len(pool)
        if waiting <= 0:
            self._handed_out_ns = 0
        # The tasks that wait may be bound to other CPUs than those that idle.
        if pool and waiting >= self._depth:
            waiting = self._depth - len(self.machine.idle_cpus())
        out: list[int] = []
        while pool and (waiting < self._depth or pool.first().vtime_ns < self._handed_out_ns):
            decision = pool.pop()
            del since_ns[decision.pid]
            out += decision
            self._handed_out_ns = max(self._handed_out_ns, decision.vtime_ns)
            waiting += 1
        held_until_ns = now_ns - self.hold_us * 1000
        while since_ns and since_ns[pid := next(iter(since_ns))] <= held_until_ns:
            del since_ns[pid]
            out += pool.remove(pid) or ()
        self.nr_held = len(pool)
        return out
