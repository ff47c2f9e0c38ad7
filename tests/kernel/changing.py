# SPDX-License-Identifier: GPL-2.0-only
"""Tasks that change their names and cgroups all the time, and say where they ran after a change.

`python changing.py SECONDS FOLDER` starts four. FOLDER is a cgroup with the groups `left` and
`right`. In turns each task changes hundreds of times a second, and then stays for SECONDS what it
has become: `named` like left tasks, `moved` into the group of left tasks, or `free` of both. The
CPUs where it ran after the first second of that are what it says: a JSON object, a line each.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path

NR_TASKS = 4
KINDS = ("changes", "named", "changes", "moved", "changes", "free")
MISSED_S = 1.0
"""A task may be taken for what it was for so long."""
PAUSE_S = 0.0001
PR_SET_NAME = 15

_libc = ctypes.CDLL(None)


class Changing:
    """One of the tasks."""

    def __init__(self, number: int, seconds: float, folder: Path) -> None:
        """It has no name yet and is in no group."""
        self._number, self._seconds, self._folder = number, seconds, folder
        self._fresh = ""
        self.names = self.moves = 0
        self.ran_on: dict[str, Counter[int]] = {kind: Counter() for kind in KINDS[1::2]}

    def live(self, begin_s: float) -> None:
        """Go through all kinds; each task begins with another."""
        for turn in range(len(KINDS)):
            kind = KINDS[(turn + self._number) % len(KINDS)]
            until_s = begin_s + (turn + 1) * self._seconds
            if kind == "changes":
                self._change(until_s)
            else:
                self._stay(kind, until_s)

    def _name(self, name: str) -> None:
        _libc.prctl(PR_SET_NAME, name.encode())

    def _move(self, group: str) -> None:
        (self._folder / group / "cgroup.procs").write_text("0")
        self.moves += 1

    def _change(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            self._name(f"{('left', 'other')[self.names % 2]}{self.names}")
            if self.names % 32 == 0:
                self._into_a_new_group()
            elif self.names % 4 == 0:
                self._move(("left", "right")[self.names // 4 % 2])
            self.names += 1
            go_on_s = time.monotonic() + PAUSE_S
            while time.monotonic() < go_on_s:
                pass
        self._move("right")
        self._leave_the_new_group()

    def _into_a_new_group(self) -> None:
        self._move("right")
        self._leave_the_new_group()
        self._fresh = f"{self._number}-{self.names}"
        (self._folder / self._fresh).mkdir()
        self._move(self._fresh)

    def _leave_the_new_group(self) -> None:
        if self._fresh:
            (self._folder / self._fresh).rmdir()
            self._fresh = ""

    def _stay(self, kind: str, until_s: float) -> None:
        self._name("left" if kind == "named" else "other")
        self._move("left" if kind == "moved" else "right")
        missed_until_s = time.monotonic() + MISSED_S
        while (now_s := time.monotonic()) < until_s:
            if now_s > missed_until_s:
                self.ran_on[kind][_libc.sched_getcpu()] += 1


def main() -> None:
    """Start the tasks, and wait for them."""
    seconds, folder = float(sys.argv[1]), Path(sys.argv[2])
    begin_s = time.monotonic() + 0.2
    for number in range(NR_TASKS):
        if os.fork() == 0:
            task = Changing(number, seconds, folder)
            task.live(begin_s)
            told = {"names": task.names, "moves": task.moves, "ran_on": task.ran_on}
            os.write(1, (json.dumps(told) + "\n").encode())
            os._exit(0)
    for _ in range(NR_TASKS):
        os.wait()


if __name__ == "__main__":
    main()
