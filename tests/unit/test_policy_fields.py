# SPDX-License-Identifier: GPL-2.0-only
"""What is checked when a policy class is made: its fields, and the old name of a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pyland import Policy
from pyland.loading.finder import choose
from pyland.policies import BUILTINS
from pyland.testing import OfflineMachine, make_topology

MS = 1_000_000


@pytest.mark.parametrize(
    ("fields", "method", "words"),
    [
        (("seq", "vruntime"), "", "there is no 'vruntime'; there are seq, pid,"),
        (("pid", "seq"), "", r"the order is \('seq', 'pid'\)"),
        (("seq", "weight"), "decide", r"decide\(\) needs 'pid' too"),
        (("seq", "pid"), "enqueue", r"enqueue\(\) needs 'enqueue_ns', 'state' too"),
        (("pid", "enqueue_ns", "state"), "enqueue", r"enqueue\(\) needs 'seq' too"),
    ],
)
def test_wrong_fields_are_refused_when_the_class_is_made(
    fields: tuple[str, ...], method: str, words: str
) -> None:
    methods: dict[str, Any] = {method: lambda self, given: []} if method else {}
    with pytest.raises(TypeError, match=rf"^Wrong\.fields: {words}") as refused:
        type("Wrong", (Policy,), {"fields": fields, **methods})
    assert "\n" not in str(refused.value)


def test_fields_that_are_enough_are_taken() -> None:
    for members in (
        {"fields": ("seq", "pid"), "decide": lambda self, batch: []},
        {"fields": ("seq", "pid", "enqueue_ns", "state"), "enqueue": lambda self, task: None},
        {"fields": ("weight",), "uses_numpy": True, "decide": lambda self, batch: []},
        {"fields": ("weight",)},  # a base class for others
    ):
        type("Right", (Policy,), members)


def test_the_old_name_of_lasts_ns_still_counts() -> None:
    """The nearest of both names, in policies and in classes that are none."""

    class Old(Policy):
        holds_ns = 5 * MS

    class Heir(Old):
        pass

    class New(Old):
        lasts_ns = 7 * MS

    class Mixin:
        holds_ns = 3 * MS

    class Mixed(Mixin, New):
        pass

    class Silent(Policy):
        """Says nothing of either."""

    class AlsoMixed(Silent, New):
        pass

    for name in ("lasts_ns", "holds_ns"):
        found = [getattr(each, name) for each in (Old, Heir, New, Mixed, AlsoMixed, Policy)]
        assert found == [5 * MS, 5 * MS, 7 * MS, 3 * MS, 7 * MS, 0], name


@pytest.mark.parametrize("name", BUILTINS)
def test_the_old_name_of_lasts_ns_can_be_read(name: str) -> None:
    """In the class and in a policy, also after it was set there."""
    machine = OfflineMachine(make_topology(cpus=1), choose(name, folder=Path("/")).policy)
    assert type(machine.policy).holds_ns == type(machine.policy).lasts_ns
    assert machine.policy.holds_ns == machine.policy.lasts_ns
    machine.policy.holds_ns = 3 * MS
    assert machine.policy.holds_ns == machine.policy.lasts_ns == 3 * MS


def test_a_constructor_may_set_the_old_name() -> None:
    class Late(Policy):
        def __init__(self) -> None:
            self.holds_ns = 9

    assert OfflineMachine(make_topology(cpus=1), Late).policy.lasts_ns == 9
