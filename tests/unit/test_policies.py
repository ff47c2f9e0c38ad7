# SPDX-License-Identifier: GPL-2.0-only
"""The promises of all built-in policies under any load, and those of each."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyland.loading.finder import choose
from pyland.policies import BUILTINS
from pyland.policy import Batch, Policy
from pyland.testing import OfflineMachine, make_topology

MS = 1_000_000
FAIR = ("deadline", "vtime")


def policy(name: str) -> type[Policy]:
    return choose(name, folder=Path("/")).policy


def count_questions(machine: OfflineMachine) -> Counter[int]:
    """Count from now on how often the policy is asked about each task."""
    asked: Counter[int] = Counter()
    decide, pid = machine.policy.decide, machine.policy.fields.index("pid")

    def counting(batch: Batch) -> Any:
        batch.rows = rows = list(batch.rows)
        asked.update(row[pid] for row in rows)
        return decide(batch)

    vars(machine.policy)["decide"] = counting
    return asked


workloads = st.lists(
    st.tuples(
        st.sampled_from(("hog", "sleeper")),
        st.sampled_from((1, 15, 100, 335, 10_000)),  # weight
        st.integers(1, 30),  # runs, in ms
        st.integers(0, 30),  # sleeps, in ms
        st.sampled_from((*[()] * 6, (0,), (1,))),  # affinity
    ),
    min_size=1,
    max_size=8,
)
steps = st.lists(
    st.tuples(st.sampled_from(("wake", "sleep", "exit", "run")), st.integers(0, 7)), max_size=20
)


@pytest.mark.parametrize(
    ("name", "options"), [*((name, {}) for name in BUILTINS), ("deadline", {"order": "python"})]
)
@settings(max_examples=30, deadline=None)
@given(tasks=workloads, steps=steps)
def test_no_task_is_lost_and_none_is_decided_twice(
    name: str,
    options: dict[str, Any],
    tasks: list[tuple[str, int, int, int, tuple[int, ...]]],
    steps: list[tuple[str, int]],
) -> None:
    machine = OfflineMachine(make_topology(cpus=2), policy(name), **options)
    asked = count_questions(machine)
    made = []
    for kind, weight, runs_ms, sleeps_ms, cpus in tasks:
        times = {"runs_ns": runs_ms * MS, "sleeps_ns": sleeps_ms * MS}
        made.append(
            machine.add(kind, weight=weight, cpus=cpus, **(times if kind == "sleeper" else {}))
        )
        machine.wake(made[-1])
    for step, number in steps:
        task = made[number % len(made)]
        if step == "run":
            machine.run(number * MS)
        else:
            getattr(machine, step)(task)
    machine.run(50 * MS)

    counters = machine.counters
    decided = Counter(d.pid for d in machine.decisions)
    keeps = bool(options)
    # While a policy keeps a task, the task may leave, or run because a CPU would idle. It does so
    # only if tasks are bound to the other CPU.
    left = len([step for step, _ in steps if step in ("sleep", "exit")]) if keeps else 0
    held = len([task for task in made if task.where == "held"])
    assert not counters["fallback"] or (keeps and any(cpus for *_, cpus in tasks))
    assert counters["late"] <= left + counters["fallback"]
    assert asked.total() == counters["forwarded"]
    assert decided <= asked if keeps else decided == asked
    known = counters["decided"] + counters["fallback"] + held
    assert counters["forwarded"] - left <= known <= counters["forwarded"]
    assert not counters["bad_decisions"]
    assert not counters["bounced"]
    assert all(0 <= d.vtime_ns < 2**64 and 0 <= d.slice_ns < 2**64 for d in machine.decisions)
    for task in made:
        assert task.where in ("asleep", "queued", "running", "gone", *(["held"] if keeps else []))
        # No task waits while a CPU that it may use is idle.
        if task.where in ("queued", "held"):
            assert not any(machine.is_idle(cpu) for cpu in task.cpus)
        if task.where == "held":
            assert machine.now_ns - task.enqueue_ns <= 20 * MS


@pytest.mark.parametrize("name", BUILTINS)
def test_equal_hogs_get_equal_shares(name: str) -> None:
    machine = OfflineMachine(make_topology(cpus=2), policy(name))
    hogs = [machine.add(f"hog{number}") for number in range(6)]
    for hog in hogs:
        machine.wake(hog)
    machine.run(3_000 * MS)
    used = [hog.total_runtime_ns for hog in hogs]
    assert max(used) < 1.05 * min(used)
    assert sum(used) == pytest.approx(2 * 3_000 * MS, rel=0.01)


@pytest.mark.parametrize("name", FAIR)
def test_shares_follow_the_weights(name: str) -> None:
    machine = OfflineMachine(make_topology(cpus=2), policy(name))
    heavy = [machine.add("heavy") for _ in range(4)]
    light = [machine.add("light", weight=33) for _ in range(4)]
    for task in (*heavy, *light):
        machine.wake(task)
    machine.run(5_000 * MS)
    ratio = sum(t.total_runtime_ns for t in heavy) / sum(t.total_runtime_ns for t in light)
    assert ratio == pytest.approx(100 / 33, rel=0.15)


@pytest.mark.parametrize("name", ["deadline", "vtime", "bpfland"])
def test_a_task_that_sleeps_much_waits_less_than_one_that_computes(name: str) -> None:
    machine = OfflineMachine(make_topology(cpus=2), policy(name))
    hogs = [machine.add(f"hog{number}") for number in range(6)]
    sleeper = machine.add("sleeper", runs_ns=MS, sleeps_ns=10 * MS)
    for task in (*hogs, sleeper):
        machine.wake(task)
    machine.run(100 * MS)
    before = sleeper.total_runtime_ns
    machine.run(1_000 * MS)
    # It needs 100 of 1,100 ms: it wakes up, runs 1 ms, sleeps 10 ms.
    assert sleeper.total_runtime_ns - before > 50 * MS


@pytest.mark.parametrize("lifetime_ms", [1, 2])
@pytest.mark.parametrize("name", BUILTINS)
def test_an_endless_stream_of_newcomers_starves_no_task(name: str, lifetime_ms: int) -> None:
    machine = OfflineMachine(make_topology(cpus=1), policy(name))
    hog = machine.add("hog")
    machine.wake(hog)
    for number in range(3000 // lifetime_ms):
        machine.wake(machine.add(f"new{number}", runs_ns=lifetime_ms * MS))
        machine.run(lifetime_ms * MS)
    assert hog.longest_wait_ns < 2_500 * MS
    assert hog.total_runtime_ns > 20 * MS


def test_fifo_keeps_the_order() -> None:
    machine = OfflineMachine(make_topology(cpus=1), policy("fifo"))
    machine.wake(machine.add("first"))
    for number in range(20):
        machine.run(10_000)
        machine.wake(machine.add(f"t{number}", runs_ns=50_000))
    machine.run(1_000 * MS)
    started = [text.split()[0] for _, text in machine.trace if " runs on CPU" in text]
    assert [name for name in started if name != "first"] == [f"t{n}" for n in range(20)]


def test_rr_slices_shrink_with_the_number_that_wait() -> None:
    def slice_ms(hogs: int) -> float:
        machine = OfflineMachine(make_topology(cpus=1), policy("rr"))
        for number in range(hogs):
            machine.wake(machine.add(f"hog{number}"))
        return machine.decisions[-1].slice_ns / MS

    assert slice_ms(2) == 2.5
    assert slice_ms(3) == pytest.approx(5 / 3, abs=0.01)
    assert slice_ms(50) == 1
