# SPDX-License-Identifier: GPL-2.0-only
"""What a policy class declares: its fields and its options."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyland import Policy, Task, option
from pyland.errors import UsageError
from pyland.options import parse_options
from pyland.testing import OfflineMachine, make_topology


def test_extra_fields_are_there_when_named() -> None:
    class Users(Policy):
        fields = ("seq", "pid", "enqueue_ns", "state", "uid", "wakeup_interval_ns")
        uids: tuple[int, ...] = ()

        def enqueue(self, task: Task) -> None:
            self.uids += (task.uid,)
            with pytest.raises(AttributeError, match="do not name 'weight'"):
                _ = task.weight
            self.dispatch(task)

    machine = OfflineMachine(make_topology(cpus=1), Users)
    machine.wake(machine.add("a"))
    machine.wake(machine.add("b", uid=1000))
    assert machine.policy.uids == (1000,)  # type: ignore[attr-defined]


class Tunable(Policy):
    lag_ms: int = option(40, "credit of a sleeper", least=0, most=1000)
    share: float = option(0.5, "of the CPU", least=0, most=1)
    greedy: bool = option(False, "takes all")
    mode: str = option("auto", "how", choices=("auto", "off"))

    def enqueue(self, task: Task) -> None:
        self.dispatch(task)


def test_options_have_their_defaults_and_what_was_given() -> None:
    values: dict[str, Any] = {}
    values |= parse_options("tunable", Tunable.options, ["lag-ms=5", "greedy=yes", "share=1"])
    policy = OfflineMachine(make_topology(cpus=1), Tunable, **values).policy
    assert isinstance(policy, Tunable)
    assert (policy.lag_ms, policy.greedy, policy.share, policy.mode) == (5, True, 1.0, "auto")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lag_ms", "it takes name=value"),
        ("lag_mss=5", "did you mean lag_ms?"),
        ("colour=red", "it has: lag_ms, share, greedy, mode"),
        ("lag_ms=x", "lag_ms = x: it takes a whole number from 0 to 1000"),
        ("lag_ms=1001", "it takes a whole number from 0 to 1000"),
        ("share=nan", "it takes a number from 0 to 1"),
        ("greedy=maybe", "it takes yes or no"),
        ("mode=on", "it takes auto or off"),
    ],
)
def test_a_wrong_option_is_named_with_what_would_be_right(text: str, words: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_options("tunable", Tunable.options, [text])
    assert words in str(refused.value)


def test_a_default_that_the_option_would_not_take_is_refused() -> None:
    with pytest.raises(TypeError, match="the default of lag"):
        type("Wrong", (Policy,), {"lag": option(5, "", least=10)})


def test_a_policy_has_a_name() -> None:
    class Quiet(Tunable):
        name = ""

    assert Quiet.name == "quiet"
    with pytest.raises(TypeError, match=r"Number.name is 5: it takes a text"):

        class Number(Tunable):
            name = 5  # type: ignore[assignment]


def test_an_interim_order_that_there_is_not() -> None:
    class Soon(Policy):
        interim = "soon"  # type: ignore[assignment]

    with pytest.raises(ValueError, match="interim is 'soon'; there are hold, vtime, arrival"):
        OfflineMachine(make_topology(cpus=1), Soon)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lasts_ns", -1),
        ("lasts_ns", 1.5),
        ("lasts_ns", "5"),
        ("lasts_slices", 0),
        ("lasts_slices", 1001),
        ("lasts_slices", None),
        ("interval_ns", -1),
        ("interval_ns", 1 << 63),
        ("margin_ns", 1e6),
    ],
)
def test_a_number_that_cannot_be_is_named(name: str, value: object) -> None:
    wrong = type("Wrong", (Tunable,), {name: value})
    with pytest.raises(ValueError, match=f"wrong: {name} is {value!r}, not a whole number from"):
        OfflineMachine(make_topology(cpus=1), wrong)


@pytest.mark.parametrize("name", ["lasts_ns", "lasts_slices", "interval_ns", "margin_ns"])
def test_a_number_of_numpy_is_taken(name: str) -> None:
    OfflineMachine(make_topology(cpus=1), type("Right", (Tunable,), {name: np.int64(7)}))
