# SPDX-License-Identifier: GPL-2.0-only
"""Shares of groups are those of the hierarchy, and quotas hold for all that is below."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.native_shares import native

lib = native()

# A number, its parent's number and its weight; group 0 is the root.
Groups = list[tuple[int, int, int]]
Tasks = dict[int, int]


def hierarchy(groups: Groups, tasks: Tasks, passes: int = 12) -> None:
    """Groups, in each of which so many tasks of nice 0 have been runnable for a while."""
    lib.reset()
    for group in groups:
        lib.make(*group)
    run(tasks, passes)


def run(tasks: Tasks, passes: int) -> None:
    """Change what is runnable, and let the timer come so often."""
    for number in range(64):
        lib.run(number, 100 * tasks.get(number, 0))
    for _ in range(passes):
        lib.pass_over()


def weight_of(number: int, own: int = 100) -> float:
    """The effective weight of a task in this group."""
    return float(lib.effective(number, own)) / 256


def shares(tasks: Tasks) -> dict[int, float]:
    """The part of the machine that each group gets."""
    together = {number: count * weight_of(number) for number, count in tasks.items()}
    return {number: each / sum(together.values()) for number, each in together.items()}


def test_without_groups_each_task_has_its_own_weight() -> None:
    hierarchy([], {0: 5})
    assert weight_of(0) == 100
    assert weight_of(0, 8876) == 8876


def test_the_tasks_of_the_only_busy_group_have_their_own_weight() -> None:
    hierarchy([(1, 0, 100), (2, 0, 300), (3, 2, 7)], {3: 16})
    assert [weight_of(3, own) for own in (1, 100, 8876)] == [1, 100, 8876]


def test_an_idle_machine_weighs_groups_by_their_weight() -> None:
    hierarchy([(1, 0, 100), (2, 0, 300)], {1: 3}, 3)
    run({}, 40)
    assert weight_of(1) == pytest.approx(100, rel=0.02)
    assert weight_of(2) == pytest.approx(300, rel=0.02)


def test_groups_two_levels_deep() -> None:
    """The figures of the comment in scx_flatcg: B and C in A (100), D (200) beside it."""
    tasks = {2: 1, 3: 4, 4: 2}
    hierarchy([(1, 0, 100), (2, 1, 100), (3, 1, 100), (4, 0, 200)], tasks)
    assert shares(tasks) == pytest.approx({2: 1 / 6, 3: 1 / 6, 4: 2 / 3}, rel=0.02)


def test_a_parent_may_have_a_higher_number_than_its_child() -> None:
    tasks = {1: 1, 2: 4, 3: 2}
    hierarchy([(9, 0, 100), (1, 9, 100), (2, 9, 100), (3, 0, 200)], tasks)
    assert shares(tasks) == pytest.approx({1: 1 / 6, 2: 1 / 6, 3: 2 / 3}, rel=0.02)


def test_tasks_of_a_parent_compete_with_its_groups() -> None:
    tasks = {0: 2, 1: 3}
    hierarchy([(1, 0, 100)], tasks)
    assert shares(tasks) == pytest.approx({0: 2 / 3, 1: 1 / 3}, rel=0.02)


def test_a_sleeping_sibling_takes_nothing() -> None:
    tasks = {1: 1, 2: 1}
    hierarchy([(1, 0, 100), (2, 0, 100), (3, 0, 10_000)], tasks)
    assert shares(tasks) == pytest.approx({1: 0.5, 2: 0.5}, rel=0.02)


def test_changes_count_within_100_ms() -> None:
    """A new weight after one pass of 12 ms; what is runnable within 5 % after eight."""
    groups = [(1, 0, 100), (2, 0, 100)]
    hierarchy(groups, {1: 1, 2: 7})
    lib.make(2, 0, 900)
    lib.pass_over()
    assert shares({1: 1, 2: 7}) == pytest.approx({1: 0.1, 2: 0.9}, rel=0.02)
    run({1: 7, 2: 1}, 8)
    assert shares({1: 7, 2: 1}) == pytest.approx({1: 0.1, 2: 0.9}, rel=0.05)


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 10_000), st.integers(1, 20)),
        min_size=2,
        max_size=12,
    )
)
def test_any_hierarchy_shares_as_computed_by_hand(drawn: list[tuple[int, int, int]]) -> None:
    """Each group is in one of those before it; where no weight is too small for a number."""
    groups: Groups = []
    tasks: Tasks = {}
    for number, (back, weight, count) in enumerate(drawn, 1):
        groups.append((number, max(number - 1 - back * 3, 0), weight))
        tasks[number] = count
    hierarchy(groups, tasks)

    def total(parent: int) -> float:
        return 100 * tasks.get(parent, 0) + sum(w for _, above, w in groups if above == parent)

    share = {0: 1.0}
    wanted: dict[int, float] = {}
    for number, parent, weight in groups:
        share[number] = share[parent] * weight / total(parent)
        wanted[number] = share[number] * 100 * tasks[number] / total(number)
    whole = sum(wanted.values())
    got = shares(tasks)
    for number in tasks:
        # The kernel's own shares are whole numbers of which 1024 are weight 100.
        if 1.5 < weight_of(number) < 9_900 and all(w > 20 for _, _, w in groups):
            assert got[number] == pytest.approx(wanted[number] / whole, rel=0.12, abs=0.002)


MS = 1_000_000
LIMITED = [(1, 2, 100), (2, 3, 100), (3, 0, 100), (4, 2, 100), (5, 0, 100)]


def limited() -> None:
    """Group 2 has 50 ms in each period of 100 ms, and group 1 in it 10 ms; 4 is beside it."""
    hierarchy(LIMITED, {1: 2, 4: 2, 5: 1}, 1)
    lib.limit(2, 50 * MS)
    lib.limit(1, 10 * MS)
    lib.pass_over()


def out() -> list[int]:
    """The groups whose tasks have to wait."""
    return [number for number, _, _ in LIMITED if lib.is_out(number)]


def test_a_quota_is_used_by_the_groups_below() -> None:
    limited()
    assert out() == []
    lib.charge(1, 10 * MS)
    assert out() == [1]
    lib.charge(4, 40 * MS)
    assert out() == [1, 2, 4]
    lib.charge(5, 1000 * MS)
    lib.charge(3, 1000 * MS)
    assert out() == [1, 2, 4]


def test_what_was_used_too_much_is_missing_in_the_next_periods() -> None:
    limited()
    lib.charge(4, 120 * MS)
    for still_out in ([1, 2, 4], []):
        lib.wait_ns(88 * MS)
        lib.pass_over()
        assert out() == still_out
    lib.charge(4, 29 * MS)
    assert out() == []
    lib.charge(4, 2 * MS)
    assert out() == [1, 2, 4]


def test_time_of_idle_periods_is_not_saved() -> None:
    limited()
    lib.wait_ns(10_000 * MS)
    lib.pass_over()
    lib.charge(4, 49 * MS)
    assert out() == []
    lib.charge(4, 2 * MS)
    assert out() == [1, 2, 4]


def test_a_quota_that_is_taken_away_lets_all_go_on() -> None:
    limited()
    lib.charge(1, 500 * MS)
    assert out() == [1, 2, 4]
    lib.limit(1, 0)
    lib.limit(2, 0)
    lib.pass_over()
    assert out() == []
