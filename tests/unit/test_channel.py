# SPDX-License-Identifier: GPL-2.0-only
"""The worker's end of its channel, which the policy's code has, too."""

from __future__ import annotations

import os
import pickle
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from pyland.engine import channel as channel_module
from pyland.engine.channel import Channel
from pyland.loading.wanted import Wanted
from pyland.supervisor import messages
from pyland.supervisor.messages import Swapped, SwapRefused, WorkerMessage
from pyland.supervisor.orders import SwapOrder, new_number

ORDER = SwapOrder(Wanted("fifo", ("a=1",), "/somewhere"), new_number())


class Ends:
    """A channel and its other end."""

    def __init__(self) -> None:
        self.root, self.policy = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.root.setblocking(False)
        self.channel = Channel(self.policy)

    def fill(self) -> None:
        """As a policy does that sends nonsense until nothing finds room."""
        for size in (10_000, 1):
            with suppress(BlockingIOError):
                while True:
                    self.policy.send(b"x" * size, socket.MSG_DONTWAIT)

    def heard(self) -> list[WorkerMessage]:
        """All messages that have come, without what is none."""
        found = []
        with suppress(BlockingIOError):
            while True:
                data = self.root.recv(messages.MESSAGE_MAX + 1)
                with suppress(ValueError):
                    found.append(messages.decode(data))
        return found

    def order(self, order: SwapOrder) -> None:
        self.root.send(order.encode())

    def in_a_moment(self, data: bytes) -> threading.Thread:
        def send() -> None:
            time.sleep(0.2)
            self.root.send(data)

        thread = threading.Thread(target=send)
        thread.start()
        return thread


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.root.close()
    made.policy.close()


def test_an_order_arrives_as_it_was_sent(ends: Ends) -> None:
    orders = [
        ORDER,
        SwapOrder(Wanted("rr"), new_number(), reload=True),
        SwapOrder(Wanted("rr"), new_number(), layer="a.b"),
    ]
    for order in orders:
        ends.order(order)
    assert list(ends.channel.orders()) == orders
    assert len({order.number for order in orders}) == len(orders)


def test_a_lost_answer_is_given_again(ends: Ends, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order is not carried out twice."""
    monkeypatch.setattr(channel_module, "_ROOM_S", 0.1)
    ends.order(ORDER)
    answer = Swapped(ORDER.number, "a", "b", {}, 1)
    ends.fill()
    for _ in ends.channel.orders():
        ends.channel.answer(answer)
    assert not ends.heard()
    ends.order(ORDER)
    assert not list(ends.channel.orders())
    assert ends.heard() == [answer]


def test_what_matters_waits_for_room(ends: Ends) -> None:
    ends.fill()
    ends.channel.tell(messages.Failure("a", "lost"))
    ready = messages.Ready("1", "a", {}, confined=True)
    heard: list[WorkerMessage] = []

    def hear() -> None:
        time.sleep(0.2)
        # Little at a time, as the supervisor does with a policy that says much.
        while not heard:
            with suppress(BlockingIOError, ValueError):
                heard.append(messages.decode(ends.root.recv(messages.MESSAGE_MAX + 1)))

    thread = threading.Thread(target=hear)
    thread.start()
    ends.channel.deliver(ready)
    thread.join(10)
    assert heard == [ready]


def test_a_policy_that_changes_the_sockets_flags_changes_nothing(ends: Ends) -> None:
    other = socket.socket(fileno=os.dup(ends.policy.fileno()))
    other.setblocking(False)
    other.close()
    thread = ends.in_a_moment(b"go")
    assert ends.channel.wait_for_go()
    thread.join()


def test_an_order_before_the_rings_is_refused_by_its_number(ends: Ends) -> None:
    ends.order(ORDER)
    with open(os.devnull) as file:
        socket.send_fds(ends.root, [pickle.dumps({"sizes": 1})], [file.fileno()])
    rings = ends.channel.next_rings()
    assert rings is not None
    values, descriptors = rings
    assert values == {"sizes": 1}
    for descriptor in descriptors:
        os.close(descriptor)
    [refused] = ends.heard()
    assert isinstance(refused, SwapRefused)
    assert refused.order == ORDER.number


def test_rings_that_come_between_orders_are_left_for_the_restart(ends: Ends) -> None:
    ends.order(ORDER)
    found = ends.channel.orders()
    assert next(found).number == ORDER.number
    with open(os.devnull) as file:
        socket.send_fds(ends.root, [pickle.dumps({"sizes": 1})], [file.fileno()])
    assert list(found) == []
    rings = ends.channel.next_rings()
    assert rings is not None
    for descriptor in rings[1]:
        os.close(descriptor)


def test_it_ends_without_a_supervisor(ends: Ends) -> None:
    ends.root.close()
    assert ends.channel.next_rings() is None
    assert not ends.channel.wait_for_go()
