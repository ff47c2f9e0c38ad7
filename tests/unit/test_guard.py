# SPDX-License-Identifier: GPL-2.0-only
"""The messages about a policy that fails, and when it is replaced."""

from __future__ import annotations

import pytest

from pyland import Policy, Task
from pyland.engine import guard
from pyland.stats.counters import TOTALS
from pyland.supervisor.complaints import Complaints
from pyland.testing import OfflineMachine, make_topology


class Fails(Policy):
    def enqueue(self, task: Task) -> None:
        self.helper()

    def helper(self) -> None:
        raise KeyError("nothing there")


def failure() -> BaseException:
    machine = OfflineMachine(make_topology(cpus=1), Fails)
    machine.wake(machine.add("first"))
    with pytest.raises(KeyError) as raised:
        machine.wake(machine.add("second"))
    return raised.value


def test_a_failure_is_told_once_with_method_task_and_lines() -> None:
    failures = guard.Failures()
    report = failures.note(failure(), 0.0)
    assert "KeyError: 'nothing there', task 101 (second)" in report.splitlines()[0]
    assert 'raise KeyError("nothing there")' in report
    assert "in helper" in report
    assert failures.note(failure(), 1.0) == ""
    assert failures.count == 2


def test_ten_failures_within_ten_seconds_are_too_many() -> None:
    often, seldom = guard.Failures(), guard.Failures()
    for number in range(9):
        often.note(failure(), number)
        seldom.note(failure(), number)
    assert [often.too_many, seldom.too_many] == [False, False]
    often.note(failure(), 10.0)
    seldom.note(failure(), 10.1)
    assert [often.too_many, seldom.too_many] == [True, False]


def test_two_calls_that_take_too_long_are_too_many() -> None:
    failures = guard.Failures()
    failures.note(guard.PolicyTookTooLongError(), 0.0)
    assert [failures.too_many, failures.count] == [False, 1]
    failures.note(guard.PolicyTookTooLongError(), 4.0)
    assert [failures.too_many, failures.count] == [True, 2]


GOOD = (1, 2, -1, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("flat", "words"),
    [
        ([*GOOD, *GOOD], ""),
        ([1, 2, 3], "decide() returned 3 numbers: it takes 7 for each decision"),
        ([*GOOD, 1, 77, -1, -5, 0, 0, 0], "task 77 has slice_ns = -5: it takes an integer from 0"),
        ([1, 2, 2**31, 0, 0, 0, 0], "has cpu = 2147483648: it takes a 32-bit integer"),
        ([1, 2, -1, 0, 1.5, 0, 0], "has vtime_ns = 1.5"),
        ([1, None, -1, 0, 0, 0, 0], "task None has pid = None"),
    ],
)
def test_a_wrong_decision_is_found(flat: list[object], words: str) -> None:
    found = guard.find_wrong(flat)
    assert words in found
    assert bool(found) == bool(words)


def counts(**values: int) -> dict[str, int]:
    return dict.fromkeys(TOTALS, 0) | values


def test_complaints_are_made_once_for_each_policy() -> None:
    complaints = Complaints()
    (first,) = complaints.new(counts(bad_decisions=3))
    assert first.startswith("3 decisions named a CPU")
    assert list(complaints.new(counts(bad_decisions=9))) == []
    complaints.start_anew(counts(bad_decisions=9))
    assert list(complaints.new(counts(bad_decisions=9))) == []
    (again,) = complaints.new(counts(bad_decisions=10))
    assert again.startswith("1 decisions")


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"late": 500, "fallback_idle": 450, "user_dispatched": 300}, False),
        ({"late": 500, "user_dispatched": 300}, True),
        ({"late": 500, "user_dispatched": 30_000}, False),
        ({"undecided": 16}, True),
        ({"undecided": 15}, False),
        ({"forwarded": 5000, "user_dispatched": 900}, True),
        ({"forwarded": 5000, "user_dispatched": 800, "late": 200}, False),
        ({"forwarded": 20_000, "user_dispatched": 11_000}, False),
        ({"put_off": 101}, True),
        ({"put_off": 100}, False),
    ],
)
def test_what_happens_to_any_policy_is_no_reason_to_complain(
    values: dict[str, int], wrong: bool
) -> None:
    assert bool(list(Complaints().new(counts(**values)))) == wrong
