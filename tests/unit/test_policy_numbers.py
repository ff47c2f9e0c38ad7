# SPDX-License-Identifier: GPL-2.0-only
"""A policy's own gauges and counters, also those of a policy that writes anything."""

from __future__ import annotations

import math
import time
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyland import NR_CLASSES, Policy, Task
from pyland.stats import numbers
from pyland.stats.numbers import COUNT_MAX, GAUGE_MAX, NAME_MAX, NAMES_MAX, SIZE, PolicyNumbers
from pyland.stats.table import policy_line
from pyland.testing import OfflineMachine, make_topology


class Counting(Policy):
    """Counts the tasks that it decides."""

    def enqueue(self, task: Task) -> None:
        self.machine.count("decided")
        self.machine.gauge("awake_ms", task.awake_runtime_ns / 1e6)
        self.dispatch(task)


def test_a_test_sees_what_statistics_would_show() -> None:
    machine = OfflineMachine(make_topology(cpus=1), Counting)
    for task in [machine.add(f"hog{number}") for number in range(3)]:
        machine.wake(task)
    machine.run(200_000_000)
    assert machine.numbers.counts == {"decided": machine.counters["decided"]}
    assert machine.numbers.gauges["awake_ms"] > 0


def test_numbers_are_limited() -> None:
    own = PolicyNumbers()
    own.gauge("most", math.inf)
    own.gauge("huge", -(10**400))
    own.gauge("none", math.nan)
    own.gauge("flag", True)
    own.count("full", COUNT_MAX)
    own.count("full", 5)
    own.count("two", 1)
    own.count("two", 1)
    assert own.read().gauges == {"most": GAUGE_MAX, "huge": -GAUGE_MAX, "flag": 1}
    assert own.read().counts == {"full": COUNT_MAX, "two": 2}
    with pytest.raises(ValueError, match="a counter only grows"):
        own.count("two", -1)
    with pytest.raises(TypeError):
        own.gauge("text", "5")  # type: ignore[arg-type]


def test_classes_have_names() -> None:
    own = PolicyNumbers()
    own.name_class(3, "game")
    own.name_class(0, "others")
    own.name_class(3, "games")
    own.gauge("game", 1)
    assert own.read().classes == {3: "games", 0: "others"}
    saved = own.save()
    own.clear()
    assert own.read().classes == {}
    own.restore(saved)
    own.name_class(0, "rest")
    assert own.read().classes == {3: "games", 0: "rest"}
    for number in (-1, NR_CLASSES):
        with pytest.raises(ValueError, match=f"class {number}: there are 0 to 31"):
            own.name_class(number, "name")
    with pytest.raises(ValueError, match="names no number"):
        own.name_class(1, "a\x1b[2J")


def test_each_class_and_each_name_is_there_once() -> None:
    """A second series with the same labels would be a mistake in the metrics."""
    own = PolicyNumbers()
    for number, name in ((1, "a"), (2, "b"), (3, "c"), (4, "d")):
        own.name_class(number, name)
    own._write_name(own._classes[2], "a")
    own._ints[own._classes[3]] = 1
    own._ints[own._classes[4]] = NR_CLASSES
    assert own.read().classes == {1: "a"}


@pytest.mark.parametrize(
    "name", ["", "A", "1a", "a b", "a\n", "a\x1b[2J", "ä", "a-b", "_a", "a" * (NAME_MAX + 1)]
)
def test_a_name_that_can_never_be_shown_is_refused(name: str) -> None:
    own = PolicyNumbers()
    for method in (own.gauge, own.count):
        with pytest.raises(ValueError, match="names no number"):
            method(name, 1)
    assert own.read() == numbers.NONE


def test_a_gauge_is_no_counter() -> None:
    own = PolicyNumbers()
    own.gauge("a", 1)
    with pytest.raises(ValueError, match="'a' is a gauge and a counter"):
        own.count("a", 1)


def test_the_number_of_names_is_limited() -> None:
    own = PolicyNumbers()
    for number in range(NAMES_MAX + 10):
        own.count(f"task_{number}", 1)
        own.count(f"task_{number}", 1)
    found = own.read()
    assert len(found.counts) == NAMES_MAX
    assert set(found.counts.values()) == {2}
    assert found.left_out == 20


def test_a_swap_that_fails_leaves_the_numbers() -> None:
    own = PolicyNumbers()
    own.count("old", 3)
    saved = own.save()
    own.clear()
    own.gauge("new", 1)
    own.restore(saved)
    own.count("old", 1)
    assert own.read().counts == {"old": 4}
    assert own.read().gauges == {}


def test_what_is_left_is_not_written_to() -> None:
    memory = bytearray(SIZE)
    own = PolicyNumbers(memory)
    own.leave_memory()
    own.count("a", 1)
    assert not any(memory)


@given(st.integers(0, 1 << 32))
def test_any_memory_can_be_read(seed: int) -> None:
    found = numbers.read(memoryview(Random(seed).randbytes(SIZE)))
    assert len(found.gauges) + len(found.counts) <= NAMES_MAX


@given(
    st.lists(
        st.tuples(st.binary(min_size=8, max_size=8), st.integers(0, 3), st.binary(max_size=48))
    )
)
def test_whatever_is_there_is_safe_to_show(entries: list[tuple[bytes, int, bytes]]) -> None:
    memory = bytearray(64)
    for value, kind, name in entries[:NAMES_MAX]:
        memory += value + kind.to_bytes(8, "little") + name.ljust(48, b"\0")
    found = numbers.read(memoryview(bytes(memory).ljust(SIZE, b"\0")))
    for name_shown in (*found.gauges, *found.counts):
        assert name_shown.isidentifier()
        assert name_shown.isascii()
    assert all(math.isfinite(gauge) for gauge in found.gauges.values())
    assert all(0 <= count <= COUNT_MAX for count in found.counts.values())
    assert policy_line(found.gauges, found.counts).isprintable()


def test_growth_is_that_of_one_policy() -> None:
    old, new = PolicyNumbers(), PolicyNumbers()
    old.count("a", 10)
    new.count("a", 4)
    assert new.read().since(old.read()).counts == {"a": 4}
    before = new.read()
    new.count("a", 3)
    assert new.read().since(before).counts == {"a": 3}


def test_a_call_is_cheap() -> None:
    """It takes a fraction of a microsecond; the limit is for a busy machine."""
    own = PolicyNumbers()
    least_s = math.inf
    for _ in range(5):
        begin_s = time.perf_counter()
        for value in range(10_000):
            own.gauge("a", value)
            own.count("b", 1)
        least_s = min(least_s, time.perf_counter() - begin_s)
    assert least_s / 20_000 < 2e-6
