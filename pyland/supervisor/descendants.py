# SPDX-License-Identifier: GPL-2.0-only
"""Ends the processes that a policy has started: they must not outlive pyland.

A policy may start processes only with `--allow-processes`. A process that loses its parent
becomes a child of the supervisor, so the supervisor can find it, and has to reap it.
"""

from __future__ import annotations

import itertools
import os
import select
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil

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
"""Children that the part of pyland which started them reaps itself."""


def started(pid: int) -> None:
    """Note a child of pyland's own: its pid stays its own until `ended` is called."""
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
    _inherited.update(one.pid for one in _children(psutil.Process()))
    if lib.pyland_adopt_descendants():
        raise UsageError(loader.error())


def end_descendants(spare: Iterable[int] = ()) -> int:
    """Kill and reap all descendants except the children in `spare`; returns their number.

    All of them are stopped before the first is killed: a stopped process starts no other.
    """
    spared, seen = {*_inherited, *spare}, set()
    until_s = time.monotonic() + _WITHIN_S
    for nr in itertools.count():
        children = [one for one in _children(psutil.Process()) if one.pid not in spared]
        if not children or (nr >= _PASSES and time.monotonic() > until_s):
            break
        found = [*children]
        for one in found:  # the loop appends to it
            with suppress(psutil.Error, OSError):
                found += _children(one)
        for act in (psutil.Process.suspend, psutil.Process.kill):
            for one in found:
                with suppress(psutil.Error):
                    act(one)
        for one in found:
            seen.add(one.pid)
            with suppress(ChildProcessError):
                os.waitpid(one.pid, os.WNOHANG)
        time.sleep(_AGAIN_S)
    return len(seen)


def _children(parent: psutil.Process) -> Iterator[psutil.Process]:
    """The children. The kernel's lists are faster, if it has them: psutil reads all processes."""
    lists = list(Path(f"/proc/{parent.pid}/task").glob("*/children"))
    if not lists:
        yield from parent.children()
    for one in lists:
        for pid in one.read_text().split():
            with suppress(psutil.Error):
                yield psutil.Process(int(pid))
