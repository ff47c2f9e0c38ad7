# SPDX-License-Identifier: GPL-2.0-only
"""What `Policy.decide` is called with: the tasks that became runnable, as rows or as an array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import starmap
from typing import TYPE_CHECKING, Any

from pyland.task import BASE_FIELDS, Task, task_class

if TYPE_CHECKING:
    from numpy import ndarray


class Batch:
    """The tasks that became runnable since the last batch, and the load of the machine.

    One object for all batches: it is valid until `decide` returns.
    """

    __slots__ = (
        *("_make_task", "now_ns", "nr", "nr_runnable", "records", "rows", "view"),
        "weight_runnable",
    )

    rows: Iterable[tuple[Any, ...]]
    """A tuple per task with the policy's `fields`, oldest first; to be read once."""
    nr: int
    """How many tasks it has; 0 when `decide` is called only for tasks that it holds."""
    nr_runnable: int
    """Tasks on the whole machine that run or want to, at least 1; at most 1 ms old."""
    weight_runnable: int
    """The sum of their weights (100 is nice 0), at least 1; at most 1 ms old."""
    now_ns: int
    """`Machine.now_ns`, at a twentieth of what it costs to ask the machine."""
    view: Callable[[tuple[str, ...]], Iterable[tuple[Any, ...]]]
    """Rows of the same tasks in the same order, with other fields: those of `more_fields`.

    It costs 0.3 us for each task. Fields are in the order of `FIELDS`.
    """
    records: ndarray[Any, Any] | None
    """The memory of `array`, set by the machine for policies that use NumPy."""

    def __init__(self, fields: tuple[str, ...] = BASE_FIELDS) -> None:
        """An empty batch for a policy with these fields."""
        self.rows, self.nr, self.nr_runnable, self.weight_runnable = (), 0, 1, 1
        self.now_ns = 0
        self.records = None
        self.view = _no_view
        self._make_task = task_class(fields)

    @property
    def tasks(self) -> Iterator[Task]:
        """The rows as `Task` objects, for 0.5 us each; it reads `rows`, so use only one of them."""
        return starmap(self._make_task, self.rows)

    @property
    def array(self) -> ndarray[Any, Any]:
        """The same tasks as a NumPy structured array with all record fields, without a copy.

        The cost of NumPy is per batch: it pays from about a hundred tasks on.
        """
        if self.records is None:
            raise RuntimeError("only a policy that says `uses_numpy = True` can ask for the array")
        return self.records[: self.nr]


def _no_view(fields: tuple[str, ...]) -> Iterable[tuple[Any, ...]]:
    raise RuntimeError("a batch has other fields only in `decide`")
