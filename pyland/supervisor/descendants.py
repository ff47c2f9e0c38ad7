# SPDX-License-Identifier: GPL-2.0-only
"""Ends the processes that a policy has started: they must not outlive pyland.

A policy may start processes only with `--allow-processes`. A process that loses its parent
becomes a child of the supervisor, so the supervisor can find it, and has to reap it.
"""

from __future__ import annotations

import itertools
import os
import select
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

from pyland._native import lib
from pyland.errors import UsageError
from pyland.supervisor import loader

_WITHIN_S = 0.3
"""Seconds to end all of them. The others stay, because pyland has to end within a second."""
_PASSES = 4
"""The least number of passes: each finds processes that were started during the pass before."""
_AGAIN_S = 0.002
_REAPED_AT_ONCE = 1000
"""The most children that are reaped before the supervisor does other work."""

_own: set[int] = set()
"""Children of pyland's own: the code that started such a child also reaps it."""


def started(pid: int) -> None:
    """Note a child of pyland's own: it is not reaped here until `ended` is called."""
    _own.add(pid)


def ended(pid: int) -> None:
    """Note that the part of pyland which started this child has reaped it, or given it up."""
    _own.discard(pid)


def reap_adopted() -> None:
    """Reap adopted children that have ended; the supervisor calls it once a second.

    A child of pyland's own that has just ended may hide others until the next call.
    """
    for _ in range(_REAPED_AT_ONCE):
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:  # there is no child
            return
        if found is None or found.si_pid in _own:
            return
        with suppress(ChildProcessError):
            os.waitpid(found.si_pid, os.WNOHANG)


def reap(pid: int, pidfd: int, within_s: float) -> bool:
    """Reap a killed child; False if that was not possible within `within_s` seconds.

    A traced child cannot be reaped before its tracer lets it go, although it has ended for all
    other processes.
    """
    ended(pid)
    until_s = time.monotonic() + within_s
    select.select([pidfd], [], [], within_s)
    while True:
        try:
            if os.waitpid(pid, os.WNOHANG)[0]:
                return True
        except ChildProcessError:
            return True
        if time.monotonic() >= until_s:
            return False
        time.sleep(0.005)


_inherited: set[int] = set()
"""Children of the program that this process was before it became pyland, as a shell's."""


def adopt() -> None:
    """Become the parent of all descendants that lose theirs; raises UsageError.

    Call it before this process starts another: the children that it has by then are spared.
    """
    _inherited.update(_children(os.getpid()))
    if lib.pyland_adopt_descendants():
        raise UsageError(loader.error())


def end_descendants(spare: Iterable[int] = ()) -> int:
    """Kill and reap all descendants except the children in `spare`; returns their number.

    All of them are stopped before the first is killed: a stopped process starts no other.
    """
    spared, seen, own = {*_inherited, *spare}, set(), os.getpid()
    until_s = time.monotonic() + _WITHIN_S
    for nr in itertools.count():
        children = [pid for pid in _children(own) if pid not in spared]
        if not children or (nr >= _PASSES and time.monotonic() > until_s):
            break
        parents = dict.fromkeys(children, own)
        for pid in children:  # the loop appends to it
            more = [child for child in _children(pid) if child not in parents]
            parents |= dict.fromkeys(more, pid)
            children += more
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid, parent in parents.items():
                _send(number, pid, (parent, own))
        for pid in parents:
            seen.add(pid)
            with suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(_AGAIN_S)
    return len(seen)


def _send(number: int, pid: int, parents: tuple[int, int]) -> None:
    """Send a signal to a child of one of `parents`; not to another process with its number."""
    with suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            if _parent(pid) in parents:
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def _children(parent: int) -> list[int]:
    """The children of a process that runs here."""
    lists = 0
    found: list[int] = []
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{parent}/task"):
            with suppress(OSError), open(f"/proc/{parent}/task/{thread}/children") as file:
                found += map(int, file.read().split())
                lists += 1
    if lists:
        return found
    # A kernel without CONFIG_PROC_CHILDREN: what all processes say of their parents.
    return [
        pid
        for pid in map(int, filter(str.isdecimal, os.listdir("/proc")))
        if _parent(pid) == parent
    ]


def _parent(pid: int) -> int:
    """The parent of a process; 0 if it is gone, or is init."""
    try:
        with open(f"/proc/{pid}/stat", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0
