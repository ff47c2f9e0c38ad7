# SPDX-License-Identifier: GPL-2.0-only
"""What a policy answers: one decision for each task, as an object or as seven integers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from typing import Self

    from pyland.task import Task

CPU_ANY = -1
"""A decision's CPU: any CPU that the task may use; an idle one if there is one."""

PREEMPT = 1
"""A decision's flag: the task that runs on the named CPU makes room at once."""
NR_CLASSES = 32
"""How many classes a policy can put tasks in; they count in histograms only."""

KICK = 2
"""A decision's flag: no task; the named CPU looks for one (`Machine.kick`)."""


def domain_queue(domain: int) -> int:
    """The CPU of a flat decision that places its task in this domain of `Machine.domains`."""
    return -2 - domain


def class_flags(task_class: int) -> int:
    """The part of a decision's flags that stands for this class, 0 to `NR_CLASSES` - 1."""
    return task_class << 8


def place_of(cpu: int, domain: int | None) -> int:
    """The CPU of a flat decision that names a CPU, or a domain; TypeError if it names both."""
    if domain is None:
        return cpu
    if cpu != CPU_ANY:
        raise TypeError(f"CPU {cpu} and domain {domain}: a decision names one of them")
    return domain_queue(domain)


class _Numbers(NamedTuple):
    seq: int
    pid: int
    cpu: int
    slice_ns: int
    vtime_ns: int
    state: int
    flags: int


DECISION_FIELDS = _Numbers._fields
"""The seven integers of a flat decision, in this order.

`seq` and `pid` are those of the task's record. `cpu` is a CPU, `CPU_ANY` or a
`domain_queue`. `slice_ns` is how long the task may run (0: the shortest slice). Queued
tasks run in the order of `vtime_ns`, lowest first. `state` is kept with the task in the
kernel and comes back in its next record; in a task's first record it is 0. `flags` is 0 or
`PREEMPT`, plus the `class_flags` of the task's class.
"""


class Decision(_Numbers):
    """When, where and for how long a task runs. A tuple of `DECISION_FIELDS`.

    `Policy.decide` may return a list of these. The arguments are those of
    `Policy.dispatch`; the decision takes `task.state` with it. Each costs 0.8 us
    more than seven integers in a list (Python 3.11, 1.0 us against 0.2).
    """

    __slots__ = ()

    def __new__(
        cls,
        task: Task,
        cpu: int = CPU_ANY,
        *,
        domain: int | None = None,
        slice_ns: int = 0,
        vtime_ns: int | None = None,
        preempt: bool = False,
        task_class: int = 0,
    ) -> Self:
        """Without `vtime_ns`, tasks run in the order in which they became runnable."""
        if vtime_ns is None:
            vtime_ns = task.enqueue_ns
        flags = PREEMPT if preempt else 0
        if task_class:
            flags |= class_flags(task_class)
        cpu = place_of(cpu, domain)
        numbers = (task.seq, task.pid, cpu, slice_ns, vtime_ns, task.state, flags)
        return super().__new__(cls, *numbers)

    @classmethod
    def each_of(cls, flat: Sequence[int]) -> Iterator[Self]:
        """The decisions of a flat list; ValueError if its length is no multiple of seven."""
        numbers = iter(flat)
        return map(cls._make, zip(*[numbers] * len(DECISION_FIELDS), strict=True))


def flat_decisions(decisions: Any) -> Sequence[int]:
    """What `Policy.decide` returned, as a flat sequence of integers.

    Raises TypeError for anything but a list or tuple, or a structured array with
    `DECISION_FIELDS` in any integer types.
    """
    if isinstance(decisions, list | tuple):
        if decisions and isinstance(decisions[0], Decision):
            return [*chain.from_iterable(decisions)]
        return decisions
    names = getattr(getattr(decisions, "dtype", None), "names", None)
    if names is None or any(name not in names for name in DECISION_FIELDS):
        raise TypeError(
            f"decide() returned {type(decisions).__name__}: it takes a list of decisions, a flat "
            f"list of integers, or a structured array with the fields {', '.join(DECISION_FIELDS)}"
        )
    columns = [decisions[name].tolist() for name in DECISION_FIELDS]
    return [*chain.from_iterable(zip(*columns, strict=True))]
