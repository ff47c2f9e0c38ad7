# SPDX-License-Identifier: GPL-2.0-only
"""Swaps, with a worker whose policy lies, and writes in the memory that it shares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from pyland._native import ffi
from pyland.loading.wanted import Wanted
from pyland.supervisor.messages import Swapped, SwapRefused
from pyland.supervisor.orders import SwapOrder
from pyland.supervisor.protocol import SwapRequest
from pyland.supervisor.swaps import REPEAT_AFTER_S, REPEATED_MAX, Swaps
from pyland.supervisor.trial import needs_trial


class Worker:
    """Takes every order, and answers none."""

    def __init__(self) -> None:
        self.orders: list[SwapOrder] = []

    def order(self, order: SwapOrder) -> bool:
        self.orders.append(order)
        return True

    def hurry(self) -> None:
        """Nothing runs here."""


class Case:
    """Swaps of a worker, and their answers."""

    def __init__(self) -> None:
        self.worker = Worker()
        self.memory: Any = ffi.new("struct pyland_user *")
        self.answers: list[Mapping[str, Any]] = []
        self.swaps = Swaps(
            self.worker,  # type: ignore[arg-type]
            self.memory,
            lambda *_: pytest.fail("no trial"),
            lambda _, answer: self.answers.append(answer),
        )
        self.now_s = 0.0

    def ask(self, name: str) -> None:
        self.swaps.add(object(), SwapRequest(Wanted(name)), Wanted("rr"))  # type: ignore[arg-type]

    def look(self) -> bool:
        self.now_s = max(self.now_s, self.swaps.sent_s) + REPEAT_AFTER_S
        return self.swaps.look(self.now_s)


@pytest.mark.parametrize("written", [0, 1, 2**32 - 1])
def test_what_the_policy_writes_does_not_matter(written: int) -> None:
    case = Case()
    case.memory.request = written
    case.ask("fifo")
    assert case.swaps.is_at_worker
    assert case.memory.request == (written + 1) % 2**32


def test_only_the_answer_to_the_present_order_counts() -> None:
    """A policy can send an answer at any time, also that to an order before."""
    case = Case()
    case.ask("fifo")
    case.ask("vtime")
    [first] = case.worker.orders
    for lie in ("", "0", first.number[:-1]):
        assert case.swaps.swapped(Swapped(lie, "a", "b", {}, 1)) is None
        case.swaps.refused(SwapRefused(lie, "a lie"))
    assert not case.answers
    real = Swapped(first.number, "rr", "fifo", {}, 7)
    assert case.swaps.swapped(real) == SwapRequest(Wanted("fifo"))
    assert [answer["policy"] for answer in case.answers] == ["fifo"]
    case.swaps.go_on(Wanted("fifo"))
    second = case.worker.orders[-1]
    assert second.number != first.number
    assert case.swaps.swapped(real) is None
    case.swaps.refused(SwapRefused(second.number, "no"))
    assert [answer["ok"] for answer in case.answers] == [True, False]
    assert case.swaps.done == 1


def test_an_order_without_an_answer_is_repeated() -> None:
    """The same order, told of again: the policy may have taken it, or written over the number."""
    case = Case()
    case.ask("fifo")
    for nr in range(1, REPEATED_MAX + 1):
        case.memory.cycles += 1
        case.memory.request = 0
        assert case.look()
        assert case.worker.orders == case.worker.orders[:1] * (nr + 1)
        assert case.memory.request == 1
    # A worker that goes on and never answers is of no use.
    case.memory.cycles += 1
    assert not case.look()


def test_an_order_is_not_repeated_while_the_worker_begins_no_cycle() -> None:
    """It may be stopped, or import the policy: it finds the order when it goes on."""
    case = Case()
    case.ask("fifo")
    for _ in range(3 * REPEATED_MAX):
        assert case.look()
    assert len(case.worker.orders) == 1


def test_each_order_is_repeated_as_often() -> None:
    case = Case()
    for name in ("fifo", "vtime"):
        case.ask(name)
        for _ in range(REPEATED_MAX):
            case.memory.cycles += 1
            assert case.look()
        case.swaps.refused(SwapRefused(case.worker.orders[-1].number, "no"))
    assert len(case.answers) == 2


def test_a_swap_of_a_layer_says_so_in_its_order_and_afterwards() -> None:
    """The policy of the whole machine stays what it is."""
    case = Case()
    asked = SwapRequest(Wanted("fifo"), "build")
    case.swaps.add(object(), asked, Wanted("rr"))  # type: ignore[arg-type]
    [order] = case.worker.orders
    assert order.layer == "build"
    assert case.swaps.swapped(Swapped(order.number, "rr", "fifo", {}, 7)) == asked


@pytest.mark.parametrize(
    ("wanted", "tried"),
    [
        (Wanted("deadline"), False),
        (Wanted("layered"), False),
        (Wanted("layered", ("slice_us=500", "config=")), False),
        (Wanted("layered", ("slice_us=500", "config=/a.json")), True),
        (Wanted("layered", (" config = [{}]",)), True),
        (Wanted("./config.py:Mine"), True),
        (Wanted("someones"), True),
    ],
)
def test_only_what_may_run_code_of_users_is_tried(wanted: Wanted, tried: bool) -> None:
    """On a busy machine a trial takes seconds; without layer files `layered` is as any built-in."""
    assert needs_trial(wanted) is tried
