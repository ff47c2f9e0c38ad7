# SPDX-License-Identifier: GPL-2.0-only
"""The processes that a policy leaves behind: they end with pyland.

A worker may start processes only with `--allow-processes`. Those that lose their parent become
children of this process, and so are found here.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

import psutil

from pyland.errors import UsageError
from pyland.kernel import loader
from pyland.kernel._native import lib

_ROUNDS_MAX = 1000


def adopt() -> None:
    """Become the parent of all descendants that lose theirs; raises UsageError."""
    if lib.pyland_adopt_descendants():
        raise UsageError(loader.error())


def end_descendants(spare: Iterable[int] = ()) -> int:
    """Kill and reap all descendants but the children in `spare`; how many there were.

    All that are found are stopped before any is killed: a stopped process starts no other.
    """
    spared, seen = set(spare), set()
    for _ in range(_ROUNDS_MAX):
        children = [one for one in psutil.Process().children() if one.pid not in spared]
        if not children:
            break
        found = [*children]
        for child in children:
            with suppress(psutil.Error):
                found += child.children(recursive=True)
        for act in (psutil.Process.suspend, psutil.Process.kill):
            for one in found:
                with suppress(psutil.Error):
                    act(one)
        for one in found:
            seen.add(one.pid)
            with suppress(ChildProcessError):
                os.waitpid(one.pid, 0)
    return len(seen)
