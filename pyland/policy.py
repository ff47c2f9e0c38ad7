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

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from pyland.machine import CPU_ANY, Machine, Slices, domain_queue
from pyland.options import Option, declared_options, option
from pyland.task import BASE_FIELDS, EXTRA_FIELDS, FIELDS, Task, task_class

if TYPE_CHECKING:
    from numpy import ndarray

__all__ = [
    "BASE_FIELDS",
    "CPU_ANY",
    "DECISION_FIELDS",
    "EXTRA_FIELDS",
    "FIELDS",
    "PREEMPT",
    "Batch",
    "Machine",
    "Option",
    "Policy",
    "Slices",
    "Task",
    "domain_queue",
    "option",
]

PREEMPT = 1
"""A decision's flag: the task that runs on the named CPU makes room at once."""

DECISION_FIELDS = ("seq", "pid", "cpu", "slice_ns", "vtime_ns", "state", "flags")
"""One decision: seven integers in this order.

`seq` and `pid` are those of the task's record. `cpu` is a CPU, `CPU_ANY` or a
`domain_queue`. `slice_ns` is how long the task may run (0: the shortest slice). Queued
tasks run in the order of `vtime_ns`, lowest first. `state` is kept with the task in the
kernel and comes back in its next record, and is 0 in the first that a policy sees.
`flags` is 0 or `PREEMPT`.
"""


class Batch:
    """The tasks that became runnable since the last one, and what holds for all of them.

    One object for all batches: what it says is true until `decide` returns.
    """

    __slots__ = ("_array", "now_ns", "nr", "nr_runnable", "rows", "weight_runnable")

    rows: Iterable[tuple[Any, ...]]
    """A tuple per task with the policy's `fields`, oldest first; to be read once."""
    nr: int
    """How many tasks it has; 0 when `decide` is called for held tasks alone."""
    nr_runnable: int
    """Tasks on the whole machine that run or want to, at least 1."""
    weight_runnable: int
    """The sum of their weights (100 is nice 0), at least 1; both are a millisecond old at most."""
    now_ns: int
    """`Machine.now_ns`, at a twentieth of what it costs to ask the machine."""

    def __init__(self) -> None:
        """An empty batch."""
        self.rows, self.nr, self.nr_runnable, self.weight_runnable = (), 0, 1, 1
        self.now_ns = 0
        self._array: ndarray[Any, Any] | None = None

    @property
    def array(self) -> ndarray[Any, Any]:
        """The same tasks as a NumPy structured array with all record fields, without a copy.

        Worth it from about a hundred tasks on: what NumPy costs, it costs per batch.
        """
        if self._array is None:
            raise RuntimeError("only a policy that says `uses_numpy = True` can ask for the array")
        return self._array[: self.nr]


class Policy:
    """Orders, places and slices runnable tasks. Derive from it; override `enqueue` or `decide`.

    `__init__` takes no arguments: `self.machine` and the options are there before it is
    called. It is called anew whenever scheduling starts.
    """

    name: ClassVar[str] = ""
    """The policy's name in messages; the class's own in lower case if it is not set."""

    fields: ClassVar[tuple[str, ...]] = BASE_FIELDS
    """The record fields that the policy reads (`FIELDS` has them all, with their meaning).

    A `Task` has these as attributes, a row of a `Batch` has them in this order, which must
    be that of `FIELDS`. Fields of `EXTRA_FIELDS` are collected only for policies that name
    them; each field costs about 20 ns per task.
    """

    interval_ns: ClassVar[int] = 0
    """`tick` is called about so often; 0: never. No more often than the scheduler runs."""

    holds_ns: ClassVar[int] = 0
    """How long a decision holds; 0: until the task stops running.

    A task that sleeps with some of its slice left, and wakes up within this time of the
    decision, goes on with what is left: at its key plus the CPU time that it has used, and
    the policy is not asked. The next record has all of that in `used_ns`. One that was
    interrupted goes on at its key, until its slice is used up; one that yields goes behind
    all that are queued. A policy whose keys are virtual times loses nothing by it, and is
    asked once a slice, where tasks that wake up all the time would have it asked a hundred
    times. Decisions that name a CPU or a domain hold until the task stops.
    """

    uses_numpy: ClassVar[bool] = False
    """Whether `Batch.array` is wanted, and NumPy therefore imported."""

    machine: Machine
    """Time, topology, idle CPUs, randomness, and what can be done to a CPU."""

    margin_ns: int = 0
    """A task that wakes up interrupts one that is due later by more than this; 0: a shortest slice.

    A task is due at its key, and while it runs at its key plus the time that it has run.
    """

    nr_held: int = 0
    """Tasks that the policy has seen and not decided yet.

    A policy with a `decide` of its own keeps this up to date; it is then called again and
    again, with empty batches too, until it is 0. Who uses `enqueue` leaves it alone.
    """

    options: ClassVar[dict[str, Option]] = {}
    """What `--policy-opt` can set, by name; made from attributes declared with `option`."""

    _task_class: ClassVar[type[Task]]
    _held: dict[int, Task]

    def __init_subclass__(cls, **keywords: Any) -> None:
        """Check the class when it is defined; raises TypeError for what could never work."""
        super().__init_subclass__(**keywords)
        if "name" not in vars(cls):
            cls.name = cls.__name__.lower()
        places = [FIELDS.get(name) for name in cls.fields]
        unknown = [name for name, place in zip(cls.fields, places, strict=True) if place is None]
        if unknown:
            raise TypeError(f"{cls.__name__}.fields: there is no {unknown[0]!r}; {_known_fields()}")
        order = [name for name in FIELDS if name in cls.fields]
        if list(cls.fields) != order:
            raise TypeError(f"{cls.__name__}.fields: the order is {tuple(order)}")
        cls.options = declared_options(cls)
        cls._task_class = task_class(cls.fields)

    def enqueue(self, task: Task) -> None:
        """`task` became runnable: `dispatch` it now, or keep it and dispatch it later.

        A task that is kept too long (`--lag-us`) is run without the policy; if it becomes
        runnable again, it is enqueued again, as another `Task`.
        """
        raise TypeError(f"{type(self).__name__} has neither enqueue() nor decide()")

    def decide(self, batch: Batch) -> Sequence[int] | ndarray[Any, Any]:
        """The decisions to carry out now, flat: `DECISION_FIELDS` for each; or such an array.

        This is what the dispatch loop calls, once per batch; override it for speed, or for
        NumPy. The default calls `enqueue` for each task.
        """
        held = self._held
        make = self._task_class
        for row in batch.rows:
            task = make(*row)
            # Enqueued again: it ran without us, and what we know of it is old.
            held[task.pid] = task
            try:
                self.enqueue(task)
            except BaseException as error:
                error.add_note(f"task {task.pid} ({getattr(task, 'comm', '?')})")
                raise
        self.nr_held = len(held)
        return []

    def dispatch(
        self,
        task: Task,
        cpu: int = CPU_ANY,
        *,
        slice_ns: int = 0,
        vtime_ns: int | None = None,
        preempt: bool = False,
    ) -> bool:
        """Decide a task: where it runs, for how long, and when compared to others.

        `cpu` is a CPU, `CPU_ANY` (an idle one if there is one, else the first that is
        free) or a `domain_queue`. `slice_ns` 0 is the shortest slice; what no machine can
        live with is brought into 0.1 to 100 ms. The lowest `vtime_ns` runs first; without
        one, tasks run in the order in which they became runnable. A task that wakes up
        interrupts one that is due later by more than the shortest slice. With `preempt` the
        task that runs on `cpu` makes room in any case. What `task.state` is now comes back with it.

        False if the task has moved on: it was decided, ran without the policy, or is gone.
        """
        if self._held.get(task.pid) is not task:
            return False
        del self._held[task.pid]
        self.nr_held = len(self._held)
        if vtime_ns is None:
            vtime_ns = task.enqueue_ns
        flags = PREEMPT if preempt else 0
        self.machine.pending += (task.seq, task.pid, cpu, slice_ns, vtime_ns, task.state, flags)
        return True

    def _forget(self, pid: int) -> None:
        """A task is gone, so it is held no longer; what runs the policy says so first."""
        if self._held.pop(pid, None) is not None:
            self.nr_held = len(self._held)

    def tick(self) -> None:
        """Called about every `interval_ns`."""

    def stopped(self, pid: int, ran_ns: int) -> None:
        """The task left its CPU after `ran_ns`. Only policies that override it are told."""

    def slept(self, pid: int) -> None:
        """The task waits for something, and is not runnable. Only if overridden."""

    def exited(self, pid: int) -> None:
        """The task is gone, and its pid may come back as another. Only if overridden.

        No record of it comes after this. The one way to lose it is a ring that is full:
        `events_lost` counts that.
        """

    @classmethod
    def create(cls, machine: Machine, **options: Any) -> Policy:
        """A policy for a machine, as the command makes it; for tests and simulations.

        Options that are not given have their defaults. Raises TypeError for an unknown
        one and ValueError for a bad value.
        """
        policy = cls.__new__(cls)
        policy.machine = machine
        policy._held = {}
        for name, value in options.items():
            if name not in cls.options:
                raise TypeError(f"{cls.name} has no option {name!r}")
            setattr(policy, name, cls.options[name].check(value))
        policy.__init__()  # type: ignore[misc]
        return policy


def _known_fields() -> str:
    return f"there are {', '.join(FIELDS)}"


def flat_decisions(decisions: Any) -> list[int]:
    """The flat list of a structured array with `DECISION_FIELDS`, in any integer types.

    Raises TypeError for anything else.
    """
    names = getattr(getattr(decisions, "dtype", None), "names", None)
    if names is None or any(name not in names for name in DECISION_FIELDS):
        raise TypeError(
            f"decide() returned {type(decisions).__name__}: it takes a flat list of integers, or "
            f"a structured array with the fields {', '.join(DECISION_FIELDS)}"
        )
    columns = [decisions[name].tolist() for name in DECISION_FIELDS]
    return [value for row in zip(*columns, strict=True) for value in row]
