# SPDX-License-Identifier: GPL-2.0-only
"""A task that became runnable, and all that a policy can know about it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

WAKEUP = 1
"""The bit of `enq_flags` for a task that has slept (SCX_ENQ_WAKEUP)."""

FIELDS = {
    "seq": "the number of this enqueue; a decision returns it",
    "pid": "thread id in the initial PID namespace",
    "tgid": "process id",
    "cpu": "the CPU where it ran last",
    "nr_cpus_allowed": "how many CPUs its affinity allows",
    "enq_flags": "why it was enqueued, SCX_ENQ_*: 1 is a wakeup",
    "weight": "1 to 10000, 100 is nice 0",
    "used_ns": "CPU time since the record of its last decision",
    "awake_runtime_ns": "CPU time since it last slept",
    "total_runtime_ns": "CPU time since pyland first saw it",
    "start_ns": "when it last began to run",
    "wakeup_ns": "when it last woke up",
    "enqueue_ns": "when it became runnable",
    "state": "the policy's own 64 bits, from its last decision",
    "comm": "its name",
    "ppid": "its parent's process id",
    "uid": "its user",
    "gid": "its group",
    "nice": "-20 to 19",
    "waker_pid": "the task that woke it last; 0: an interrupt",
    "kthread": "1 for a kernel thread, else 0",
    "pid_ns": "its PID namespace, as the inode of /proc/PID/ns/pid",
    "ns_pid": "thread id in that namespace",
    "leader_comm": "the name of its process",
    "cgroup_id": "its cgroup (v2), as the kernel numbers them",
    "wakeup_interval_ns": "between its wakeups, averaged (3/4 old, 1/4 new)",
    "sleep_interval_ns": "between its falling asleep, averaged likewise",
    "waker_interval_ns": "between its waking of others, averaged likewise",
    "average_runtime_ns": "CPU time from a wakeup to the next sleep, averaged likewise",
}
"""Every field of a record and its meaning, in their order. Times are in nanoseconds, on the
clock of `Machine.now_ns`; an average is 0 until there is one."""

_NAMES = tuple(FIELDS)
BASE_FIELDS = _NAMES[: _NAMES.index("ppid")]
"""The fields that every record has."""
EXTRA_FIELDS = _NAMES[len(BASE_FIELDS) :]
"""The fields that are collected only while a policy asks for them."""
DECIDE_FIELDS = ("seq", "pid")
"""The fields that a decision names its task by: a policy with `decide` needs them."""
ENQUEUE_FIELDS = ("seq", "pid", "enqueue_ns", "state")
"""The fields that `Policy.dispatch` reads: a policy with `enqueue` needs them."""


_NO_SLOTS: tuple[str, ...] = ()


class Task:
    """One task that became runnable. Its attributes are the policy's `fields`.

    The values are those of that moment. A policy may set `state`: the task's next record
    has the value that the decision took with it.
    """

    __slots__ = _NO_SLOTS

    seq: int
    pid: int
    tgid: int
    cpu: int
    nr_cpus_allowed: int
    enq_flags: int
    weight: int
    used_ns: int
    awake_runtime_ns: int
    total_runtime_ns: int
    start_ns: int
    wakeup_ns: int
    enqueue_ns: int
    state: int
    comm: str
    ppid: int
    uid: int
    gid: int
    nice: int
    waker_pid: int
    kthread: int
    pid_ns: int
    ns_pid: int
    leader_comm: str
    cgroup_id: int
    wakeup_interval_ns: int
    sleep_interval_ns: int
    waker_interval_ns: int
    average_runtime_ns: int

    @property
    def is_wakeup(self) -> bool:
        """True if the task has just woken up, False if its slice was over or it is new."""
        return bool(self.enq_flags & WAKEUP)

    def __repr__(self) -> str:
        names: tuple[str, ...] = type(self).__slots__
        values = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"Task({values})"

    # Hidden from type checkers: they find a misspelt field because there is none of that name.
    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> int:
            if name in FIELDS:
                raise AttributeError(f"the policy's `fields` do not name {name!r}")
            raise AttributeError(f"a task has no {name!r}")


@cache
def task_class(fields: tuple[str, ...]) -> type[Task]:
    """The Task class with exactly these attributes; called with their values in this order."""
    lines = [f"def __init__(self, {', '.join(fields)}):"]
    for name in fields:
        # A name is NUL-padded bytes in the record.
        is_name = name.endswith("comm")
        value = f"{name}.rstrip(b'\\0').decode(errors='replace')" if is_name else name
        lines.append(f"    self.{name} = {value}")
    namespace: dict[str, object] = {}
    exec("\n".join(lines), namespace)
    return type("Task", (Task,), {"__slots__": fields, "__init__": namespace["__init__"]})


def check_fields(what: str, fields: tuple[str, ...], method: str) -> None:
    """Raise TypeError for fields that do not exist, are out of order, or are missing.

    `method` is the one that the policy has, `decide` or `enqueue`, which needs some of them; empty
    if it has none. `what` names the fields in the error.
    """
    for name in fields:
        if name not in FIELDS:
            raise TypeError(f"{what}: there is no {name!r}; there are {', '.join(FIELDS)}")
    order = tuple(name for name in FIELDS if name in fields)
    if fields != order:
        raise TypeError(f"{what}: the order is {order}")
    needed = {"decide": DECIDE_FIELDS, "enqueue": ENQUEUE_FIELDS}.get(method, ())
    if missing := [name for name in needed if name not in fields]:
        raise TypeError(f"{what}: {method}() needs {', '.join(map(repr, missing))} too")
