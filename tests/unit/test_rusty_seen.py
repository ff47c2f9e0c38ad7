# SPDX-License-Identifier: GPL-2.0-only
"""What rusty knows of tasks between their records: their time, and that nothing grows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyland.policies.rusty.rusty import Rusty
from pyland.policies.rusty.seen import SEEN_MAX, Generations, Seen
from pyland.policy import FIELDS, Batch
from pyland.testing import OfflineMachine, make_topology

SECOND = 1_000_000_000
FIRST_NS = 10 * SECOND


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 20_000), max_size=200), st.integers(1, 50))
def test_nothing_grows_with_the_number_of_tasks(pids: list[int], ages: int) -> None:
    tasks = Generations()
    for number, pid in enumerate(pids * 20):
        if pid not in tasks.young and tasks.find(pid) is None:
            tasks.add(pid, Seen(0, 0))
        if number % ages == 0:
            tasks.age()
        assert pid in tasks.young or number % ages == 0
    tasks.age()
    tasks.age()
    assert len(tasks) == 0
    for pid in range(3 * SEEN_MAX):
        tasks.add(pid, Seen(0, 0))
    assert len(tasks) <= 2 * SEEN_MAX


def decided(policy: Rusty, **values: Any) -> Seen:
    """What is known of a task after a record with these fields."""
    task = dict.fromkeys(FIELDS, 0) | {"seq": 1, "pid": 7, "weight": 100, "nr_allowed": 8}
    task |= {"comm": b"task"} | values
    batch = Batch(policy.fields)
    batch.now_ns = task["enqueue_ns"]
    batch.nr = batch.nr_runnable = 1
    batch.weight_runnable = 100
    batch.rows = [tuple(task[name] for name in policy.fields)]
    policy.decide(batch)
    return policy._tasks.young[7]


@pytest.mark.parametrize(
    ("case", "wakeup_ns", "used_ns", "awake_ns", "expected_ns"),
    [
        ("never slept", -50, 30, 900, 100),
        ("woke up 40 ago, ran 10 before it slept", 60, 30, 20, 50),
        ("woke up just now, and did nothing before", 100, 0, 0, 0),
    ],
)
def test_a_task_is_runnable_since_it_woke_up(
    case: str, wakeup_ns: int, used_ns: int, awake_ns: int, expected_ns: int
) -> None:
    policy = OfflineMachine(make_topology(cpus=8, llcs=2), Rusty).policy
    assert isinstance(policy, Rusty)
    decided(policy, enqueue_ns=FIRST_NS)
    seen = decided(
        policy,
        enqueue_ns=FIRST_NS + 100,
        wakeup_ns=FIRST_NS + wakeup_ns,
        used_ns=used_ns,
        awake_runtime_ns=awake_ns,
        state=1,
    )
    assert seen.runnable_ns == expected_ns, case


@pytest.mark.parametrize(("runnable_ns", "duty"), [(SECOND, 1.0), (5 * SECOND, 1.0), (-3, 0.0)])
def test_a_duty_cycle_is_a_part_of_the_time(runnable_ns: int, duty: float) -> None:
    """The sum may be a little more or less than can be: clocks of two CPUs differ."""
    seen = Seen(0, FIRST_NS)
    seen.runnable_ns = runnable_ns
    seen.fold(FIRST_NS + SECOND, 1)
    assert seen.duty == pytest.approx(duty)
