# SPDX-License-Identifier: GPL-2.0-only
"""What the dispatch loop asks of a policy.

A policy sees the tasks that became runnable, a batch at a time, and answers with
decisions. It has no other contact with the kernel, so the same class can be driven
by anything that makes such batches.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from pyland.topology import Topology

CPU_ANY = -1
"""A decision's CPU: any that the task may use; BPF prefers an idle one."""

PREEMPT = 1
"""A decision's flag: the task running on the named CPU makes room at once."""

DECISION_FIELDS = ("seq", "pid", "cpu", "slice_ns", "vtime_ns", "state", "flags")
"""One decision: seven integers in this order.

`seq` and `pid` are those of the record. `slice_ns` is how long the task may run (0:
the shortest slice). Queued tasks run in the order of `vtime_ns`, lowest first. `state`
is kept with the task in the kernel and comes back in its next record: a policy needs
no dictionary of tasks, and nothing is left behind when one exits.
"""


@dataclass(frozen=True, slots=True)
class Slices:
    """The slices of the command line, in nanoseconds, for a task of weight 100."""

    longest_ns: int = 20_000_000
    """What a task gets when nobody waits for its CPU."""
    shortest_ns: int = 1_000_000
    """What a task gets when many wait."""


class Policy(Protocol):
    """Orders, places and slices runnable tasks."""

    name: ClassVar[str]
    """The policy's name in messages."""

    fields: ClassVar[tuple[str, ...]]
    """The record fields that `decide` reads, in its order (bpf/intf.h, `pyland_queued`).

    The others never become Python objects: each costs about 20 ns per task.
    """

    nr_held: int
    """Tasks that the policy has seen and not decided yet."""

    def __init__(self, slices: Slices, topology: Topology, *, percpu_local: bool = False) -> None:
        """A policy for this machine; made anew whenever scheduling starts."""

    def decide(
        self, tasks: Iterable[tuple[int, ...]], nr_runnable: int, weight_runnable: int
    ) -> list[int]:
        """The decisions to carry out now, flat: `DECISION_FIELDS` for each.

        `tasks` became runnable since the last call, oldest first, each a tuple of
        `fields`; it is empty when only held tasks are left to decide. `nr_runnable`
        counts all tasks that run or want to, `weight_runnable` is the sum of their
        weights (100 is nice 0); both are at most a millisecond old.
        """
        ...
