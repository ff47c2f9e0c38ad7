# SPDX-License-Identifier: GPL-2.0-only
"""Policies that fail with errors that cannot be printed."""

from __future__ import annotations

import sys
import time
from typing import NoReturn

from pyland.policies.deadline import Deadline
from pyland.policy import Batch


def _raises(*_: object) -> NoReturn:
    raise ValueError("no")


def _loops(*_: object) -> NoReturn:
    while True:
        pass


def _sleeps(*_: object) -> NoReturn:
    time.sleep(600)
    raise AssertionError


class Silent(Exception):
    """Its message raises."""

    __str__ = _raises


class Endless(Exception):
    """Its message never ends."""

    __str__ = _loops


class Sleepy(Exception):
    """A note of it never ends."""

    __notes__ = [type("Note", (), {"__str__": _sleeps})()]  # noqa: RUF012 - as hostile as can be


class Number:
    """Is not a number, and cannot be printed."""

    __index__ = _raises
    __repr__ = _loops


class Stays:
    """An object with a finalizer that never ends."""

    def __del__(self) -> None:
        _loops()


class RaisesSilent(Deadline):
    """Fails with an exception with a message that raises."""

    def decide(self, batch: Batch) -> list[int]:
        raise Silent


class RaisesEndless(Deadline):
    """Fails with an exception with a message that never ends."""

    def decide(self, batch: Batch) -> list[int]:
        raise Endless


class RaisesSleepy(Deadline):
    """Fails with an exception with a note that never ends."""

    def decide(self, batch: Batch) -> list[int]:
        raise Sleepy("yes")


class RaisesForged(Deadline):
    """Fails with an exception that lies about its name, in a file that is a device."""

    def decide(self, batch: Batch) -> list[int]:
        forged = type("Forged", (Exception,), {"__class__": property(_raises)})
        code = compile("raise forged('\\x1b[2J\\npyland: ended')", "/dev/zero", "exec")
        exec(code, {"forged": forged})
        return []


class DecidesHuge(Deadline):
    """Decides with a number of 100,001 bits."""

    def decide(self, batch: Batch) -> list[int]:
        flat = super().decide(batch)
        flat[4:5] = [1 << 100_000]
        return flat


class DecidesNumber(Deadline):
    """Decides with something that is not a number."""

    def decide(self, batch: Batch) -> list[int]:
        flat: list[object] = [*super().decide(batch)]
        flat[4:5] = [Number()]
        return flat  # type: ignore[return-value]


class Recurses(Deadline):
    """Calls itself until a raised recursion limit ends it."""

    def decide(self, batch: Batch) -> list[int]:
        sys.setrecursionlimit(20_000)
        return self._again()

    def _again(self) -> list[int]:
        return self._again()


class Lingers(Deadline):
    """Fails with an exception that holds an object of Stays."""

    def decide(self, batch: Batch) -> list[int]:
        error = ValueError("it has an object")
        error.held = Stays()  # type: ignore[attr-defined]
        raise error


class Chats(Deadline):
    """Prints more than can be read."""

    def decide(self, batch: Batch) -> list[int]:
        print("\x1b]0;chatted\x07" * 1000)
        return super().decide(batch)


class Unmakeable(Deadline):
    """Cannot be constructed, with a message that never ends."""

    def __init__(self) -> None:
        raise Endless
