# SPDX-License-Identifier: GPL-2.0-only
"""The offline machine and BPF come to the same slices, keys and answers: one table for both."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyland import Policy, Task
from pyland.testing import OfflineMachine, OfflineTask, arithmetic, make_topology
from tests.support.native_arithmetic import native

lib = native()

US, MS, S = 10**3, 10**6, 10**9
LONGEST_NS = 20 * MS
YEAR_NS = 365 * 24 * 3600 * S
WRAPS = 1 << 64
WINDOW = 1 << 40

TABLE: tuple[tuple[str, tuple[Any, ...], int | bool], ...] = (
    # old, new
    ("average", (0, 7), 7),
    ("average", (8, 16), 10),
    ("average", (3, 0), 3),
    ("average", (WRAPS - 1, 0), WRAPS - 1 - (WRAPS - 1) // 4),
    # slice, longest
    ("slice_within", (0, LONGEST_NS), 100 * US),
    ("slice_within", (1, LONGEST_NS), 100 * US),
    ("slice_within", (5 * MS, LONGEST_NS), 5 * MS),
    ("slice_within", (YEAR_NS, LONGEST_NS), 100 * MS),
    ("slice_within", (YEAR_NS, 1 * S), 1 * S),
    ("is_no_slice", (10 * S, LONGEST_NS), False),
    ("is_no_slice", (10 * S + 1, LONGEST_NS), True),
    ("is_no_slice", (WRAPS - 1, LONGEST_NS), True),
    # slice, weight
    ("slice_of_weight", (1 * MS, 100), 1 * MS),
    ("slice_of_weight", (1 * MS, 1), 10 * US),
    ("slice_of_weight", (1 * MS, 10_000), 100 * MS),
    ("slice_of_weight", (1 * MS, 0), 0),
    ("slice_at_weight_100", (100 * MS, 10_000), 1 * MS),
    ("slice_at_weight_100", (10 * US, 1), 1 * MS),
    ("slice_at_weight_100", (3 * MS, 0), 3 * MS),
    # usual, slice
    ("usual_slice_ns", (0, 5 * MS), 5 * MS),
    ("usual_slice_ns", (4 * MS, 8 * MS), 8 * MS),
    ("usual_slice_ns", (8 * MS, 4 * MS), 7 * MS),
    ("usual_slice_ns", (8 * MS, 0), 8 * MS),
    # slice, wanted, longest
    ("granted_slices", (5 * MS, 4, 20 * MS), 4),
    ("granted_slices", (5 * MS + 1, 4, 20 * MS), 3),
    ("granted_slices", (1 * MS, 4, 20 * MS), 4),
    ("granted_slices", (100 * MS, 4, 20 * MS), 1),
    ("granted_slices", (1 * MS, 0, 20 * MS), 1),
    ("granted_slices", (0, 4, 20 * MS), 1),
    ("granted_slices", (100 * US, YEAR_NS, 20 * MS), 200),
    # left, weight, woke up, lasts asleep, until, now, usual
    ("slice_continues", (2 * MS, 100, False, False, 0, 9 * S, 5 * MS), True),
    ("slice_continues", (99 * US, 100, False, False, 0, 0, 5 * MS), False),
    ("slice_continues", (2 * MS, 100, True, False, 9 * S, 1 * S, 5 * MS), False),
    ("slice_continues", (2 * MS, 100, True, True, 9 * S, 1 * S, 5 * MS), True),
    ("slice_continues", (2 * MS, 100, True, True, 1 * S, 1 * S, 5 * MS), False),
    ("slice_continues", (2 * MS, 100, True, True, 5, WRAPS - 5, 5 * MS), True),
    ("slice_continues", (2 * MS, 100, True, True, WRAPS - 5, 5, 5 * MS), False),
    ("slice_continues", (6 * MS, 100, False, False, 0, 0, 5 * MS), False),
    ("slice_continues", (6 * MS, 200, False, False, 0, 0, 5 * MS), True),
    # key, the highest that ran
    ("vtime_within", (123, 0), 123),
    ("vtime_within", ((1 << 62) - 1, 0), (1 << 62) - 1),
    ("vtime_within", (1 << 62, 0), WINDOW),
    ("vtime_within", (WRAPS - 1, 0), WRAPS - 1),
    ("vtime_within", (0, 3 * S), 0),
    ("vtime_within", (1 << 63, 3 * S), 3 * S + WINDOW),
    ("vtime_within", (3 * S + WINDOW + 1, 3 * S), 3 * S + WINDOW),
    ("vtime_within", (0, 2 * WINDOW), WINDOW),
    ("vtime_within", (3, WRAPS - 2), 3),
    # last key, used, weight, longest
    ("vtime_after", (5, 2 * MS, 100, LONGEST_NS), 5 + 2 * MS),
    ("vtime_after", (5, 2 * MS, 200, LONGEST_NS), 5 + 1 * MS),
    ("vtime_after", (5, 2 * MS, 1, LONGEST_NS), 5 + 200 * MS),
    ("vtime_after", (5, 2 * MS, 0, LONGEST_NS), 5 + 200 * MS),
    ("vtime_after", (5, 3 * S, 100, LONGEST_NS), 5 + LONGEST_NS),
    ("vtime_after", (WRAPS - 1, 2, 100, LONGEST_NS), 1),
    # running key, ran, key, margin
    ("is_due_later", (10 * MS, 0, 9 * MS, 1 * MS), False),
    ("is_due_later", (10 * MS, 1, 9 * MS, 1 * MS), True),
    ("is_due_later", (9 * MS, 0, 10 * MS, 0), False),
    ("is_due_later", (5, 0, WRAPS - 5, 9), True),
    ("is_due_later", (WRAPS - 5, 0, 5, 0), False),
)  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "wanted"), TABLE, ids=lambda each: str(each)[:40])
def test_both_come_to_what_the_table_says(
    name: str, inputs: tuple[Any, ...], wanted: int | bool
) -> None:
    assert getattr(lib, name)(*inputs) == wanted
    # Here numbers do not wrap.
    assert getattr(arithmetic, name)(*inputs) % WRAPS == wanted


def test_the_table_has_every_function_of_the_offline_machine() -> None:
    own = {name for name in vars(arithmetic) if name.islower() and name[0] != "_"}
    assert own - {"annotations", "slice_ceil_ns"} == {name for name, _, _ in TABLE}


def test_the_limits_are_the_same() -> None:
    for name in filter(str.isupper, vars(arithmetic)):
        if not name.startswith("_"):
            assert getattr(arithmetic, name) == getattr(lib, name), name


times = st.integers(0, WRAPS - 1)
spans = st.integers(0, YEAR_NS)
slices = st.integers(1, 10 * S)


@settings(max_examples=400)
@given(
    times, times, times, spans, slices, slices, st.integers(0, 10_000), st.booleans(), st.booleans()
)
def test_both_come_to_the_same_with_any_number(
    one: int,
    other: int,
    third: int,
    span: int,
    slice_ns: int,
    usual_ns: int,
    weight: int,
    woke_up: bool,
    asleep: bool,
) -> None:
    cases: dict[str, tuple[Any, ...]] = {
        "average": (one, other),
        "slice_within": (one, slice_ns),
        "is_no_slice": (one, slice_ns),
        "slice_of_weight": (slice_ns, weight),
        "slice_at_weight_100": (slice_ns, weight),
        "usual_slice_ns": (one, other),
        "granted_slices": (slice_ns, one, usual_ns),
        "slice_continues": (slice_ns, weight, woke_up, asleep, one, other, usual_ns),
        "vtime_within": (one, other),
        "vtime_after": (one, span, weight, slice_ns),
        "is_due_later": (one, span, third, slice_ns),
    }
    assert cases.keys() == {name for name, _, _ in TABLE}
    for name, inputs in cases.items():
        assert getattr(arithmetic, name)(*inputs) % WRAPS == getattr(lib, name)(*inputs), name


def decided(slice_ns: int, vtime_ns: int, weight: int) -> tuple[OfflineMachine, OfflineTask]:
    """A task that an offline machine queued with these numbers from its policy."""

    class Says(Policy):
        def enqueue(self, task: Task) -> None:
            self.dispatch(task, slice_ns=slice_ns, vtime_ns=vtime_ns)

    machine = OfflineMachine(make_topology(cpus=1), Says)
    machine.wake(machine.add("hog"))
    waiting = machine.add("waiting", weight=weight)
    machine.wake(waiting)
    return machine, waiting


@pytest.mark.parametrize("weight", [1, 100, 10_000])
@pytest.mark.parametrize("vtime_ns", [0, 5 * S, 1 << 62, 1 << 63, WRAPS - 1])
@pytest.mark.parametrize("slice_ns", [0, 1, 5 * MS, 10 * S, 10 * S + 1, WRAPS - 1])
def test_the_offline_machine_queues_a_task_as_bpf_would(
    slice_ns: int, vtime_ns: int, weight: int
) -> None:
    """What bpf/decisions.bpf.h does with a slice and a key before it moves the task."""
    machine, waiting = decided(slice_ns, vtime_ns, weight)
    longest_ns, shortest_ns = machine.slices.longest_ns, machine.slices.shortest_ns
    bad = lib.is_no_slice(slice_ns, longest_ns)
    wanted_ns = 0 if bad else slice_ns
    own_ns = lib.slice_of_weight(shortest_ns, weight)
    assert machine.counters["decided"] == 1
    assert machine.counters["bad_decisions"] == bad
    assert waiting.slice_left_ns == lib.slice_within(wanted_ns or own_ns, longest_ns)
    assert waiting.vtime_ns is not None
    assert waiting.vtime_ns % WRAPS == lib.vtime_within(vtime_ns, 0)
