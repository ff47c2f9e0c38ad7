# SPDX-License-Identifier: GPL-2.0-only
"""Looks from outside at the rights of policy code, while that code has stopped itself."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from tools.load.scheduler import PYLAND

# The variables of sudo for the user `daemon`, and none, as for root without sudo.
CALLERS = {"sudo": ("env", "SUDO_UID=1", "SUDO_GID=1", PYLAND), "root": (PYLAND,)}

_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
_PROC = Path("/proc")


class Watcher(threading.Thread):
    """Inspects each process below pyland's that stops itself, and continues it.

    All threads and descendants of such a process are inspected, and the processes between it and
    the supervisor. Rights that are gone do not come back: the kernel gives none to a process with
    no_new_privs, empty sets of capabilities and no id of root. So two looks answer for the time
    between them.
    """

    def __init__(self, pid: int, book: Path | None = None) -> None:
        """`pid` is the supervisor's; in `book` each process writes `PHASE PID` before it stops."""
        super().__init__(daemon=True)
        self._supervisor, self._book = pid, book
        self._over = threading.Event()
        self._answered: Counter[int] = Counter()
        self.looked_at: list[int] = []
        """The threads that were inspected, at each stop."""
        self.phases: Counter[str] = Counter()
        """How often the writer of a phase was inspected in its stop."""
        self.wrong: list[str] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def run(self) -> None:
        while not self._over.wait(0.02):
            for top in _children(self._supervisor):
                family = [top, *_descendants(top)]
                for pid in family:
                    if _state(pid) == "T":
                        self._stopped(pid, family)

    def end(self) -> None:
        """Look no more; what stops itself later stays stopped."""
        self._over.set()
        self.join()

    def written(self) -> Counter[str]:
        """The phases in the book, looked at or not."""
        return Counter(phase for phase, _ in self._lines())

    def _lines(self) -> list[tuple[str, int]]:
        if self._book is None:
            return []
        # A line without its end is being written.
        lines = self._book.read_text(encoding="ascii").split("\n")[:-1]
        return [(phase, int(pid)) for phase, pid in map(str.split, lines)]

    def _stopped(self, pid: int, family: list[int]) -> None:
        for one in family:
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
                self._look(one)
        phases = [phase for phase, writer in self._lines() if writer == pid]
        if len(phases) > self._answered[pid]:
            self.phases[phases[self._answered[pid]]] += 1
            self._answered[pid] += 1
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _look(self, pid: int) -> None:
        if _state(pid) == "Z":
            return
        for task in (_PROC / str(pid) / "task").iterdir():
            status = (task / "status").read_text()
            fields = dict(re.findall(r"^(\w+):\s*(.*)$", status, re.MULTILINE))
            ids = [*fields["Uid"].split(), *fields["Gid"].split(), *fields["Groups"].split()]
            rights = [name for name in _SETS if fields[name].strip("0")]
            if "0" in ids or rights or fields["NoNewPrivs"] != "1" or fields["Seccomp"] != "2":
                self.wrong.append(status)
            self.looked_at.append(int(task.name))
        # Two rings, the user memory, the CPUs' and the domains' settings: no more may be writable.
        maps = (_PROC / str(pid) / "maps").read_text().splitlines()
        if sum("bpf-map" in line and " rw" in line for line in maps) > 5:
            self.wrong.append("\n".join(maps))


def _state(pid: int) -> str:
    with suppress(OSError):
        return (_PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    return ""


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for task in (_PROC / str(pid) / "task").iterdir():
            with suppress(OSError):
                yield from map(int, (task / "children").read_text().split())


def _descendants(pid: int) -> Iterator[int]:
    for child in _children(pid):
        yield child
        yield from _descendants(child)
