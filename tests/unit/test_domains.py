# SPDX-License-Identifier: GPL-2.0-only
"""Domains: what a policy can say of them, and what the offline machine makes of it."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyland import Policy, Task
from pyland.cpumask import cpus_of, mask_of
from pyland.domains import NR_SERVED, Domains, Search
from pyland.engine.domains import _SEARCHES
from pyland.testing import OfflineMachine, make_topology

MS = 1_000_000


def test_one_domain_for_each_cache_at_first() -> None:
    domains = Domains(make_topology(cpus=4, llcs=2))
    first, second = domains[0].settings, domains[1].settings
    assert (first.cpus, second.cpus) == (0b0011, 0b1100)
    assert first.spill == second.spill == 0b1111
    assert domains[2].settings.cpus == 0
    assert [domains.served(cpu) for cpu in range(4)] == [[0], [0], [1], [1]]


def test_what_is_wrong_is_said_and_changes_nothing() -> None:
    domains = Domains(make_topology(cpus=4, llcs=2))
    before = domains[0].settings
    with pytest.raises(IndexError, match="CPU 4: there are 0 to 3"):
        domains[0].set(cpus=1 << 4)
    with pytest.raises(ValueError, match="a mask is not negative"):
        domains[0].set(spill=-1)
    with pytest.raises(ValueError, match="it takes 32 bits"):
        domains[0].set(cpus=1, rank=1 << 31)
    with pytest.raises(IndexError, match="domain -1"):
        domains[-1].set(cpus=1)
    with pytest.raises(ValueError, match="search 'near': it is one of core, previous, stay"):
        domains[0].set(cpus=1, search="near")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="yield_ns -5: it is a time, 0 or None"):
        domains[0].set(cpus=1, yield_ns=-5)
    with pytest.raises(TypeError):
        domains[0].set(cpus=1, yield_ns=0.5)  # type: ignore[arg-type]
    for number in range(2, 2 + NR_SERVED - 1):
        domains[number].set(cpus=1)
    with pytest.raises(ValueError, match="CPU 0 serves 64 domains"):
        domains[100].set(cpus=0b11)
    assert domains[0].settings == before
    assert domains[100].settings.cpus == 0
    assert 100 not in domains.served(1)


def test_the_highest_rank_is_served_first() -> None:
    domains = Domains(make_topology(cpus=2))
    domains[3].set(cpus=0b11, rank=-1)
    domains[4].set(cpus=0b01, spill=0b10, rank=5, preempt=True)
    assert domains.served(0) == [4, 0, 3]
    assert domains.served(1) == [4, 0, 3], "a task of a preempting domain must be found there"
    domains[4].set(preempt=False)
    assert domains.served(1) == [0, 3]
    domains[3].set(rank=9)
    assert domains.served(0) == [3, 4, 0]


@given(st.sets(st.integers(0, 1023)))
def test_a_mask_has_these_cpus(cpus: set[int]) -> None:
    assert cpus_of(mask_of(cpus)) == sorted(cpus)
    assert mask_of(mask_of(cpus)) == mask_of(cpus)


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 15), st.integers(0, 15), st.booleans()),
        max_size=30,
    )
)
def test_a_cpu_serves_what_the_settings_say(changes: list[tuple[int, int, int, bool]]) -> None:
    domains = Domains(make_topology(cpus=4, llcs=2))
    for number, cpus, spill, preempt in changes:
        domains[number].set(cpus=cpus, spill=spill, preempt=preempt, rank=number % 3)
    for cpu in range(4):
        expected = [
            domain.number
            for domain in domains.known()
            if domain.settings.cpus >> cpu & 1
            or (domain.settings.preempt and domain.settings.spill >> cpu & 1)
        ]
        served = domains.served(cpu)
        assert sorted(served) == expected
        ranks = [domains[number].settings.rank for number in served]
        assert ranks == sorted(ranks, reverse=True)


class Layers(Policy):
    """Tasks called `a` are confined to CPU 0, `b` have CPU 1 and spill, `c` preempt `b`."""

    lasts_ns = 0

    def __init__(self) -> None:
        self.machine.domains[0].set(cpus=[0], spill=())
        self.machine.domains[1].set(cpus=[1], spill=[0, 1])
        self.machine.domains[2].set(cpus=[1], spill=[1], rank=1, preempt=True)

    def enqueue(self, task: Task) -> None:
        self.dispatch(task, domain="abc".index(task.comm[0]), slice_ns=10 * MS)


def test_a_confined_domain_stays_at_home_and_another_spills() -> None:
    machine = OfflineMachine(make_topology(cpus=2), Layers)
    tasks = [machine.add(f"a{n}") for n in range(3)] + [machine.add(f"b{n}") for n in range(2)]
    for task in tasks:
        machine.wake(task)
    machine.run(50 * MS)
    before = [task.total_runtime_ns for task in tasks]
    for _ in range(40):
        machine.run(5 * MS)
        running = [task for task in tasks if task.where == "running"]
        assert all(task.cpu == 0 for task in running if task.name[0] == "a")
        assert len(running) == 2
    used = [task.total_runtime_ns - earlier for task, earlier in zip(tasks, before, strict=True)]
    assert sum(used[:3]) <= 200 * MS
    machine.exit(tasks[0])
    machine.exit(tasks[1])
    machine.exit(tasks[2])
    machine.run(20 * MS)
    assert {task.cpu for task in tasks[3:]} == {0, 1}, "b does not spill to the free CPU"


def test_a_higher_rank_preempts() -> None:
    machine = OfflineMachine(make_topology(cpus=2), Layers)
    hogs = [machine.add("a"), machine.add("b")]
    first = machine.add("c", runs_ns=1 * MS, sleeps_ns=20 * MS)
    for task in (*hogs, first):
        machine.wake(task)
    machine.run(500 * MS)
    assert first.cpu == 1
    assert first.longest_wait_ns <= 10 * MS, "only its first wakeup, before it had a domain, waits"
    before = first.total_runtime_ns
    machine.run(210 * MS)
    assert first.total_runtime_ns - before >= 9 * MS


def test_a_task_whose_domain_has_no_cpu_for_it_goes_by_affinity() -> None:
    machine = OfflineMachine(make_topology(cpus=2), Layers)
    outside = machine.add("a", cpus=[1])
    machine.wake(outside)
    machine.run(30 * MS)
    assert outside.total_runtime_ns == 30 * MS


class Near(Policy):
    """Tasks belong to domains by name: `hog`, `core`, `previous`, `stay`, `soon`, and `first`."""

    lasts_ns = 1000 * MS
    domains = ("hog", "core", "previous", "stay", "soon", "first")

    def __init__(self) -> None:
        all_cpus = range(4)
        core, previous, stay, soon, first = self.machine.domains[1:6]
        # Else an idle CPU would get a task before the policy has placed it.
        self.machine.domains[0].set(cpus=all_cpus, direct=False)
        core.set(cpus=all_cpus)
        previous.set(cpus=all_cpus, search="previous")
        stay.set(cpus=all_cpus, search="stay")
        soon.set(cpus=all_cpus, search="soon")
        first.set(cpus=all_cpus, rank=1, preempt=True, preempt_first=True)

    def enqueue(self, task: Task) -> None:
        # A CPU's own queue, where a hog waits, counts with each rank, so keys decide.
        vtime_ns = 1000 * MS if task.comm == "hog" else 0
        number = self.domains.index(task.comm)
        self.dispatch(task, domain=number, slice_ns=10 * MS, vtime_ns=vtime_ns)


@pytest.mark.parametrize(
    ("name", "hog_cpu", "stays"),
    [
        ("core", 1, False),
        ("previous", 1, True),
        ("core", 0, False),
        ("previous", 0, False),
        ("stay", 0, True),
        ("soon", 0, False),
        ("first", 0, True),
    ],
)
def test_a_domain_says_which_cpu_its_tasks_look_for(name: str, hog_cpu: int, stays: bool) -> None:
    """CPUs 0 and 1 are one core, a hog has one of them, and the task ran on CPU 0."""
    machine = OfflineMachine(make_topology(cpus=4, threads=2), Near)
    task = machine.add(name, runs_ns=1 * MS, sleeps_ns=5 * MS)
    machine.wake(task)
    machine.run(20 * MS)
    assert task.cpu == 0
    machine.wake(machine.add("hog", cpus=[hog_cpu]))
    before = task.total_runtime_ns
    machine.run(100 * MS)
    assert (task.cpu == 0) == stays
    assert task.total_runtime_ns > before


def test_every_search_has_a_number_of_its_own() -> None:
    """The offline machine would take one that the kernel side does not know."""
    assert _SEARCHES.keys() == {*get_args(Search)}
    assert len({*_SEARCHES.values()}) == len(_SEARCHES)


def test_tasks_that_stay_are_spread_when_they_begin() -> None:
    machine = OfflineMachine(make_topology(cpus=4, threads=2), Near)
    tasks = [machine.add("stay") for _ in range(4)]
    for task in tasks:
        machine.wake(task)
    machine.run(50 * MS)
    assert {task.cpu for task in tasks} == {0, 1, 2, 3}
