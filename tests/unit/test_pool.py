# SPDX-License-Identifier: GPL-2.0-only
"""A pool of tasks is what a sorted list would be; and the examples in docstrings are true."""

from __future__ import annotations

import doctest
from dataclasses import dataclass
from types import ModuleType

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pyland import TaskPool, decision, policy, pool, task


@dataclass(frozen=True)
class Waiting:
    pid: int


class AgainstAList(RuleBasedStateMachine):
    """The model: (key, task) pairs, of equal keys in the order in which they were added."""

    def __init__(self) -> None:
        super().__init__()
        self.pool: TaskPool[Waiting] = TaskPool()
        self.model: list[tuple[int, Waiting]] = []

    def without(self, pid: int) -> list[tuple[int, Waiting]]:
        return [pair for pair in self.model if pair[1].pid != pid]

    @rule(pid=st.integers(1, 9), key=st.integers(-3, 3) | st.integers(0, 2**64 - 1))
    def add(self, pid: int, key: int) -> None:
        added = Waiting(pid)
        self.pool.add(added, key)
        self.model = sorted([*self.without(pid), (key, added)], key=lambda pair: pair[0])

    @rule(pid=st.integers(1, 9))
    def remove(self, pid: int) -> None:
        wanted = next((each for _, each in self.model if each.pid == pid), None)
        assert self.pool.remove(pid) is wanted
        self.model = self.without(pid)

    @precondition(lambda self: self.model)
    @rule()
    def pop(self) -> None:
        assert self.pool.pop() is self.model.pop(0)[1]

    @precondition(lambda self: not self.model)
    @rule()
    def nothing_to_pop(self) -> None:
        for take in (self.pool.pop, self.pool.first):
            with pytest.raises(IndexError):
                take()

    @invariant()
    def same(self) -> None:
        order = [each for _, each in self.model]
        assert list(self.pool) == order
        assert len(self.pool) == len(order)
        assert [pid in self.pool for pid in range(11)] == [
            pid in {each.pid for each in order} for pid in range(11)
        ]
        assert not order or self.pool.first() is order[0]


TestAgainstAList = AgainstAList.TestCase


def test_equal_keys_keep_the_order_in_which_they_were_added() -> None:
    waiting = [Waiting(pid) for pid in (9, 3, 7, 1)]
    tasks: TaskPool[Waiting] = TaskPool()
    for each in waiting:
        tasks.add(each, 5)
    assert list(tasks) == waiting


@pytest.mark.parametrize("module", [decision, policy, pool, task])
def test_examples_in_docstrings_are_true(module: ModuleType) -> None:
    assert not doctest.testmod(module).failed


def test_the_pool_has_examples() -> None:
    assert doctest.testmod(pool).attempted > 10
