# SPDX-License-Identifier: GPL-2.0-only
"""The processes that a policy leaves behind: they end with pyland.

A worker may start processes only with `--allow-processes`. Those that lose their parent become
children of this process, and so are found here.
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
"""What has not ended by then stays: pyland ends within a second, whatever a policy has started."""
_PASSES = 4
"""But so often it looks at least: each pass finds what a process has started during the last."""
_AGAIN_S = 0.002


def reap(pid: int, pidfd: int, within_s: float) -> bool:
    """Take a killed child's end; False when there is none in this time.

    A process that a tracer holds has ended for everyone else, and cannot be reaped before the
    tracer lets go.
    """
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


def adopt() -> None:
    """Become the parent of all descendants that lose theirs; raises UsageError."""
    if lib.pyland_adopt_descendants():
        raise UsageError(loader.error())


def end_descendants(spare: Iterable[int] = ()) -> int:
    """Kill and reap all descendants but the children in `spare`; how many there were.

    All that are found are stopped before any is killed: a stopped process starts no other.
    """
    spared, seen = set(spare), set()
    until_s = time.monotonic() + _WITHIN_S
    for nr in itertools.count():
        children = [one for one in _children(psutil.Process()) if one.pid not in spared]
        if not children or (nr >= _PASSES and time.monotonic() > until_s):
            break
        found = [*children]
        for one in found:  # it grows meanwhile
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
    """From the kernel's own lists, where it has them: psutil reads files of every process."""
    lists = list(Path(f"/proc/{parent.pid}/task").glob("*/children"))
    if not lists:
        yield from parent.children()
    for one in lists:
        for pid in one.read_text().split():
            with suppress(psutil.Error):
                yield psutil.Process(int(pid))
