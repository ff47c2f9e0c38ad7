# SPDX-License-Identifier: GPL-2.0-only
"""What a policy is: the one file that its author has to read.

The smallest policy is a class with one method, which says what to do with one task:

    class Shortest(Policy):
        def enqueue(self, task: Task) -> None:
            self.dispatch(task, vtime_ns=task.awake_runtime_ns)

A policy is told which tasks became runnable and answers with decisions: order, CPU,
slice. It sees the machine through `self.machine` and nothing else, so that one class
runs on a kernel, in virtual time and in tests, and does the same in all three.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from pyland.attributes import Interim, check_attributes
from pyland.batch import Batch
from pyland.decision import (
    CPU_ANY,
    DECISION_FIELDS,
    NR_CLASSES,
    PREEMPT,
    Decision,
    class_flags,
    domain_queue,
    place_of,
)
from pyland.former import FormerName, take_former_name
from pyland.machine import Machine, Slices
from pyland.options import Option, declared_options, option
from pyland.pool import TaskPool
from pyland.task import BASE_FIELDS, EXTRA_FIELDS, FIELDS, Task, check_fields

if TYPE_CHECKING:
    from numpy import ndarray

__all__ = [
    "BASE_FIELDS",
    "CPU_ANY",
    "DECISION_FIELDS",
    "EXTRA_FIELDS",
    "FIELDS",
    "NR_CLASSES",
    "PREEMPT",
    "Batch",
    "Decision",
    "Interim",
    "Machine",
    "Option",
    "Policy",
    "Slices",
    "Task",
    "TaskPool",
    "class_flags",
    "domain_queue",
    "option",
]


class Policy:
    """Orders, places and slices runnable tasks. Derive from it; override `enqueue` or `decide`.

    `__init__` takes no arguments: `self.machine` and the options are there before it is
    called. It is called anew whenever scheduling starts.
    """

    name: ClassVar[str] = ""
    """The policy's name in messages; by default the class's own in lower case."""

    fields: tuple[str, ...] = BASE_FIELDS
    """The record fields that the policy reads (`FIELDS` has them all, with their meaning).

    A `Task` has these as attributes, a row of a `Batch` has them in this order, which must
    be that of `FIELDS`. `enqueue` needs `ENQUEUE_FIELDS`, `decide` needs `DECIDE_FIELDS`.
    Fields of `EXTRA_FIELDS` are collected only for policies that name them; each field
    costs about 20 ns per task.
    """

    more_fields: tuple[str, ...] = ()
    """Fields that `Batch.view` is asked for; each costs nothing until it is."""

    interval_ns: int = 0
    """`tick` is called about this often; 0: never. No more often than the scheduler runs."""

    lasts_ns: int = 0
    """How long a decision lasts; 0: until the task stops running.

    A task that sleeps with some of its slice left, and wakes up within this time of the decision,
    continues with the rest of the slice. The policy is not asked: the task's key grows by the CPU
    time that it has used, and its next record has all of that time in `used_ns`. A task that was
    preempted continues at its key until its slice is used up; a task that yields goes behind all
    queued tasks. A policy whose keys are virtual times loses nothing, and is asked once for each
    slice instead of at each wakeup. A decision that names a CPU lasts until the task stops.
    """

    lasts_slices: int = 1
    """How many slices a decision grants while it lasts; together a longest slice at most.

    More than one only with `interim = "vtime"`: the policy is asked less often. Between two slices
    the task waits at its last key plus the CPU time that it used.
    """

    interim: Interim = "hold"
    """How a task is ordered until its decision comes.

    `hold`: not at all, it waits for the decision, for `--lag-us` at most. `vtime`: by its last
    key and the CPU time since, and after it slept as far ahead of the others as the last time;
    for policies whose keys are virtual times. `arrival`: by the time at which it became
    runnable. With the last two a decision that comes after the task was put on a CPU holds for
    the rest of its turn, and the policy takes no time from any task.
    """

    exact_slices: bool = True
    """False: slices end at ticks, up to 4 ms late at 250 Hz, and not by timers, which cost more."""

    holds_ns: Any = FormerName("lasts_ns")
    """The name that `lasts_ns` had before."""

    uses_numpy: ClassVar[bool] = False
    """True if the policy reads `Batch.array`; only then NumPy is imported."""

    machine: Machine
    """Time, topology, idle CPUs, randomness, and what can be done to a CPU."""

    margin_ns: int
    """A task that wakes up preempts a task that is due later than it by more than this.

    A task is due at its key; while it runs, at its key plus the time that it has run. The default
    is the machine's shortest slice. Set it in the class or in `__init__`: it is read at the start.
    """

    nr_held: int = 0
    """How many tasks the policy holds: it has seen them and not decided them.

    A policy with a `decide` of its own keeps this up to date; `decide` is then called again
    and again, with empty batches too, until it is 0. A policy with `enqueue` leaves it alone.
    """

    options: ClassVar[dict[str, Option]] = {}
    """What `--policy-opt` can set, by name; made from attributes declared with `option`."""

    _held: dict[int, Task]

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Check the class when it is defined; raises TypeError for what can never work."""
        super().__init_subclass__(**keywords)
        if not isinstance(vars(cls).get("name", ""), str):
            raise TypeError(f"{cls.__name__}.name is {vars(cls)['name']!r}: it takes a text")
        if not vars(cls).get("name"):
            cls.name = cls.__name__.lower()
        take_former_name(cls, vars(Policy)["holds_ns"])
        _check_fields(cls)
        cls.options = declared_options(cls)

    @property
    def held(self) -> Mapping[int, Task]:
        """By pid, the tasks that `enqueue` has seen and not dispatched, oldest first."""
        return MappingProxyType(self._held)

    def enqueue(self, task: Task) -> None:
        """`task` became runnable: `dispatch` it now, or keep it and dispatch it later.

        A task that is kept for longer than `--lag-us` runs without the policy; if it becomes
        runnable again, it is enqueued again, as another `Task`.
        """
        raise TypeError(f"{type(self).__name__} has neither enqueue() nor decide()")

    def decide(self, batch: Batch) -> Sequence[int] | Sequence[Decision] | ndarray[Any, Any]:
        """The decisions to carry out now.

        They come as a flat list, `DECISION_FIELDS` for each; as a list of `Decision`; or as
        a structured array with those fields. The dispatch loop calls this once per batch;
        override it for speed, or for NumPy. The default calls `enqueue` for each task.
        """
        held = self._held
        for task in batch.tasks:
            # A task that is enqueued again ran without the policy: its old record is void.
            held.pop(task.pid, None)
            held[task.pid] = task
            try:
                self.enqueue(task)
            except BaseException as error:
                error.add_note(f"task {task.pid} ({getattr(task, 'comm', '?')})")
                self.nr_held = len(held)
                raise
        self.nr_held = len(held)
        return []

    def dispatch(
        self,
        task: Task,
        cpu: int = CPU_ANY,
        *,
        domain: int | None = None,
        slice_ns: int = 0,
        vtime_ns: int | None = None,
        preempt: bool = False,
        task_class: int = 0,
    ) -> bool:
        """Decide a task that came to `enqueue`: where it runs, for how long, in which order.

        `cpu` is a CPU or `CPU_ANY` (an idle CPU if there is one, else the first that is free);
        or else `domain` is the number of one of `Machine.domains`. `slice_ns` 0 is the shortest
        slice; other values are brought into 0.1 to 100 ms, or to the longest slice if that is
        longer. The lowest `vtime_ns` runs first;
        without it, tasks run in the order in which they became runnable. A task that wakes up
        preempts a task that is due later by more than `margin_ns`. With `preempt` the task that
        runs on `cpu` makes room in any case. The value of `task.state` comes back with the task.
        `task_class`, 0 to `NR_CLASSES` - 1, is the class that the task counts in from here on,
        in histograms only (`Machine.name_class`).

        False if the task has moved on: it was decided, ran without the policy, or is gone.
        """
        if self._held.get(task.pid) is not task:
            return False
        del self._held[task.pid]
        self.nr_held = len(self._held)
        if vtime_ns is None:
            vtime_ns = task.enqueue_ns
        flags = PREEMPT if preempt else 0
        if task_class:
            flags |= class_flags(task_class)
        if domain is not None:
            cpu = place_of(cpu, domain)
        self.machine.outgoing += (task.seq, task.pid, cpu, slice_ns, vtime_ns, task.state, flags)
        return True

    def tick(self) -> None:
        """Called about every `interval_ns`."""

    def resized(self) -> None:
        """`machine.topology` has other CPUs: those of a layer come and go while it schedules.

        Called for the policy of a layer alone; a policy of the whole machine is made anew.
        """

    def running(self, pid: int) -> None:
        """The task was put on a CPU. Called only for policies that override it."""

    def changed(self, pid: int) -> None:
        """The task's weight, affinity or cgroup has changed. Called only if overridden.

        A new name is in the task's next record.
        """

    def stopped(self, pid: int, ran_ns: int) -> None:
        """The task left its CPU after `ran_ns`. Called only for policies that override it."""

    def slept(self, pid: int) -> None:
        """The task sleeps, and is not runnable. Called only for policies that override it."""

    def exited(self, pid: int) -> None:
        """The task is gone, and its pid may be used again. Called only if overridden.

        No record of the task comes after this. An event is lost only when the ring is full:
        `events_lost` counts that.
        """

    def hears(self, event: str) -> bool:
        """True if it wants to be told of `stopped`, `slept` or `exited`: if it has the method."""
        return getattr(type(self), event) is not getattr(Policy, event)

    @classmethod
    def create(cls, machine: Machine, **options: Any) -> Policy:
        """A policy for a machine, as the command makes it; for tests and simulations.

        Options that are not given have their defaults. Raises TypeError for an unknown
        option and ValueError for a bad value.
        """
        policy = cls.__new__(cls)
        policy.machine = machine
        policy._held = {}
        if not hasattr(cls, "margin_ns"):
            policy.margin_ns = machine.slices.shortest_ns
        for name, value in options.items():
            if name not in cls.options:
                raise TypeError(f"{cls.name} has no option {name!r}")
            setattr(policy, name, cls.options[name].check(value))
        policy.__init__()  # type: ignore[misc]
        check_attributes(cls.name, policy)
        return policy


def _check_fields(policy: type[Policy]) -> None:
    method = ""
    if policy.decide is not Policy.decide:
        method = "" if policy.uses_numpy else "decide"
    elif policy.enqueue is not Policy.enqueue:
        method = "enqueue"
    check_fields(f"{policy.__name__}.fields", policy.fields, method)


def forget(policy: Policy, pid: int) -> None:
    """Remove a task that is gone from those that the policy holds, before `Policy.exited`."""
    if policy._held.pop(pid, None) is not None:
        policy.nr_held = len(policy._held)
