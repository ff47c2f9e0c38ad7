# SPDX-License-Identifier: GPL-2.0-only
"""The layered policy on the offline machine: where tasks run, and what they get."""

from __future__ import annotations

import itertools

import pytest

from pyland.policies.layered.numbers import by_layer
from pyland.policies.layered.policy import Layered
from pyland.testing import OfflineMachine, make_topology
from tests.support.layered import MS, Loaded, layer, used


def test_a_confined_layer_keeps_to_cpus_that_follow_its_use() -> None:
    loaded = Loaded([layer("web")], make_topology(8, llcs=2))
    web = loaded.add("web", 3)
    loaded.add("other", 12)
    loaded.machine.run(1_000 * MS)
    assert len(loaded.cpus(0)) == 4  # three hogs at 80 %
    assert set(loaded.ran_on(web)) <= loaded.cpus(0)
    assert min(used(loaded.machine, web, 500)) > 450 * MS
    for task in web[1:]:
        loaded.machine.exit(task)
    loaded.machine.run(1_000 * MS)
    assert len(loaded.cpus(0)) == 2  # 1 / 0.4 is as many at most
    assert loaded.policy.membership.tasks.keys() == {t.pid for t in loaded.tasks} - {
        t.pid for t in web[1:]
    }


def test_a_task_that_runs_alone_leaves_a_cpu_that_its_layer_loses() -> None:
    loaded = Loaded([layer("web", cpus_range=[1, 1])], make_topology(4))
    web = loaded.add("web", 2)
    loaded.machine.run(300 * MS)
    assert set(loaded.ran_on(web)) == loaded.cpus(0)


def test_protected_cpus_are_touched_by_no_other_layer() -> None:
    loaded = Loaded(
        [layer("safe", "Grouped", protected=True), layer("grp", "Grouped")], make_topology(8)
    )
    safe = loaded.add("safe", 1, runs_ns=5 * MS, sleeps_ns=5 * MS)
    others = [*loaded.add("grp", 6), *loaded.add("other", 6)]
    loaded.machine.run(1_000 * MS)
    assert not set(loaded.ran_on(others)) & loaded.cpus(0)
    assert loaded.cpus(0)
    assert safe[0].total_runtime_ns > 400 * MS


def test_a_grouped_layer_goes_elsewhere_when_its_own_are_busy() -> None:
    loaded = Loaded([layer("grp", "Grouped", cpus_range=[1, 1])], make_topology(4))
    grp = loaded.add("grp", 4)
    loaded.machine.run(200 * MS)
    assert set(loaded.ran_on(grp)) == {0, 1, 2, 3}
    assert loaded.cpus(0) < {0, 1, 2, 3}
    numbers = dict(by_layer(loaded.machine.numbers.gauges))
    assert numbers["grp"]["open"] > 0.5


def test_an_open_layer_is_kept_off_when_all_cpus_are_busy() -> None:
    kept = Loaded([layer("grp", "Grouped", cpus_range=[2, 2])], make_topology(4))
    grp, other = kept.add("grp", 2), kept.add("other", 6)
    kept.machine.run(500 * MS)
    assert not set(kept.ran_on(other)) & kept.cpus(0)
    assert min(used(kept.machine, grp, 500)) > 450 * MS


def test_a_layer_without_cpus_runs_somewhere_at_once() -> None:
    loaded = Loaded(
        [layer("web"), layer("safe", protected=True, cpus_range=[1, 1])], make_topology(2)
    )
    assert not loaded.cpus(0)
    web = loaded.add("web", runs_ns=MS, sleeps_ns=500 * MS)
    loaded.add("other", 3)
    loaded.machine.run(90 * MS)
    assert web[0].total_runtime_ns == MS
    assert web[0].cpu not in loaded.cpus(1)


def test_weights_count_where_layers_want_more_than_there_is() -> None:
    loaded = Loaded([layer("big", weight=300), layer("small")], make_topology(8))
    big, small = loaded.add("big", 8), loaded.add("small", 8)
    loaded.machine.run(1_500 * MS)
    assert (len(loaded.cpus(0)), len(loaded.cpus(1))) == (6, 2)
    ratio = sum(used(loaded.machine, big, 500)) / sum(used(loaded.machine, small, 500))
    assert ratio == pytest.approx(3, rel=0.1)


def test_a_preempting_layer_preempts_others() -> None:
    def longest_wait_ms(preempt: bool) -> float:
        options = {"preempt": preempt, "slice_us": 20_000}
        loaded = Loaded([layer("fast", "Open", **options)], make_topology(2), slice_us=50_000)
        loaded.add("other", 6)
        fast = loaded.add("fast", runs_ns=15 * MS, sleeps_ns=15 * MS)[0]
        loaded.machine.run(500 * MS)
        fast.longest_wait_ns = 0
        loaded.machine.run(2_000 * MS)
        return fast.longest_wait_ns / MS

    assert longest_wait_ms(True) < 1
    assert longest_wait_ms(False) > 10


def test_an_exclusive_layer_leaves_the_siblings_idle() -> None:
    loaded = Loaded([layer("solo", exclusive=True)], make_topology(8, threads=2))
    solo = loaded.add("solo", 2)
    others = loaded.add("other", 8)
    loaded.machine.run(1_000 * MS)
    on = set(loaded.ran_on(solo))
    assert on
    assert all(cpu % 2 == 0 for cpu in on)
    assert not {cpu + 1 for cpu in loaded.cpus(0) if cpu % 2 == 0} & set(loaded.ran_on(others))


def test_slices_are_those_of_the_layer() -> None:
    loaded = Loaded([layer("web", slice_us=2500)], make_topology(2), slice_us=7000)
    loaded.add("web", 3)
    loaded.add("other", 3)
    loaded.machine.run(500 * MS)
    slices = {(d.task[:3], d.slice_ns) for d in loaded.machine.decisions}
    assert slices == {("web", 2_500_000), ("oth", 7 * MS)}


def test_min_exec_is_charged_at_least() -> None:
    loaded = Loaded([layer("web", min_exec_us=5000, cpus_range=[1, 1])], make_topology(2))
    task = loaded.add("web", runs_ns=MS, sleeps_ns=150 * MS)[0]
    loaded.add("web", 1)
    loaded.machine.run(2_000 * MS)
    states = [d.state for d in loaded.machine.decisions if d.pid == task.pid]
    grown = [b - a for a, b in itertools.pairwise(states)]
    assert min(grown) >= 5 * MS


def test_fifo_goes_by_the_order_of_enqueueing() -> None:
    loaded = Loaded([layer("web", fifo=True, cpus_range=[1, 1])], make_topology(2))
    hog = loaded.add("web")[0]
    late = loaded.add("web", weight=10_000)[0]
    loaded.machine.run(1_000 * MS)
    assert late.total_runtime_ns == pytest.approx(hog.total_runtime_ns, rel=0.1)


def test_a_task_that_changes_its_name_changes_its_layer() -> None:
    loaded = Loaded([layer("web"), layer("batch")], make_topology(4))
    task = loaded.add("web")[0]
    loaded.add("other", 6)
    loaded.machine.run(500 * MS)
    assert set(loaded.ran_on([task])) <= loaded.cpus(0)
    task.known["comm"] = b"batch"
    loaded.machine.run(500 * MS)
    assert set(loaded.ran_on([task])) <= loaded.cpus(1)


def test_a_task_in_a_cgroup() -> None:
    by_path = {"name": "b", "matches": [[{"CgroupPrefix": "batch/"}]], "kind": {"Open": {}}}
    loaded = Loaded([by_path], make_topology(2))
    inside = loaded.add("x", cgroup_id=2)[0]
    outside = loaded.add("y", cgroup_id=1)[0]
    loaded.add("z", 2)
    loaded.machine.run(100 * MS)
    tasks = loaded.policy.membership.tasks
    assert (tasks[inside.pid].layer, tasks[outside.pid].layer) == (0, 1)


def test_affinity_goes_before_the_layer() -> None:
    loaded = Loaded([layer("web", cpus_range=[2, 2])], make_topology(8))
    loaded.add("other", 12)
    outside = ({*range(8)} - loaded.cpus(0)).pop()
    pinned = loaded.add("web", cpus=[outside])[0]
    few = {*range(8)} - loaded.cpus(0) - {outside}
    bound = loaded.add("web", cpus=few)[0]
    inside = loaded.add("web", cpus=[*few, *loaded.cpus(0)])[0]
    loaded.machine.run(1_000 * MS)
    assert pinned.total_runtime_ns > 100 * MS
    assert bound.total_runtime_ns > 100 * MS
    assert set(loaded.ran_on([inside])) <= loaded.cpus(0)
    assert not loaded.machine.counters["bounced"]


def test_the_frequency_follows_the_layers() -> None:
    loaded = Loaded([layer("web", perf=512, cpus_range=[2, 2])], make_topology(4))
    slow = loaded.cpus(0)
    assert {cpu: loaded.machine.performance(cpu) for cpu in range(4) if cpu in slow} == (
        dict.fromkeys(slow, 512)
    )
    assert all(loaded.machine.performance(cpu) in (None, 1024) for cpu in {0, 1, 2, 3} - slow)


def test_without_a_file_all_tasks_are_in_one_open_layer() -> None:
    machine = OfflineMachine(make_topology(4, llcs=2), Layered)
    tasks = [machine.add(f"hog{n}") for n in range(8)]
    for task in tasks:
        machine.wake(task)
    machine.run(2_000 * MS)
    shares = [task.total_runtime_ns for task in tasks]
    assert max(shares) < 1.1 * min(shares)
    assert [name for name, _ in by_layer(machine.numbers.gauges)] == ["all"]


def test_a_task_that_never_sleeps_runs_for_long() -> None:
    """By average runtime: a new task is of the middle; short and long runs show in time."""
    bounds = {"short": [0, 1_000], "mid": [1_000, 10_000], "long": [10_000, 1_000_000]}
    layers = [
        {
            "name": name,
            "matches": [[{"AvgRuntime": span}]],
            "kind": {"Confined": {"util_range": [0.4, 0.8], "cpus_range": [2, 2]}},
        }
        for name, span in bounds.items()
    ]
    loaded = Loaded(layers, make_topology(8), layer_refresh_ms_avgruntime=100)
    short = loaded.add("a", 1, runs_ns=MS // 10, sleeps_ns=MS)
    usual = loaded.add("b", 1, runs_ns=3 * MS, sleeps_ns=3 * MS)
    hog = loaded.add("c", 2)
    of = loaded.policy.membership.tasks
    assert {of[task.pid].layer for task in loaded.tasks if task.pid in of} == {1}
    loaded.machine.run(500 * MS)
    assert [of[task.pid].layer for task in (*short, *usual, *hog)] == [0, 1, 2, 2]
    assert set(loaded.ran_on(hog)) <= loaded.cpus(2)


def test_what_preempts_leaves_other_layers_their_cpus() -> None:
    """Six hogs in a layer that preempts and six in one that does not: each has its four CPUs."""
    loaded = Loaded(
        [
            layer("first", "Grouped", preempt=True, slice_us=1000),
            layer("other", slice_us=500),
        ],
        make_topology(8, nodes=2),
    )
    first, other = loaded.add("first", 6), loaded.add("other", 6)
    soon = loaded.add("first", 1, runs_ns=MS, sleeps_ns=7 * MS + 300_000)[0]
    loaded.machine.run(1_000 * MS)
    soon.longest_wait_ns = 0
    assert len(loaded.cpus(0)) == len(loaded.cpus(1)) == 4
    assert set(loaded.ran_on(first)) == loaded.cpus(0)
    shares = [sum(used(loaded.machine, tasks, 500)) for tasks in (first, other)]
    assert min(shares) > 1_700 * MS
    # It still takes a CPU of the other layer at once.
    assert soon.longest_wait_ns == 0
