# SPDX-License-Identifier: GPL-2.0-only
"""Cgroups for kernel tests: made, weighed, limited, filled, measured, and removed at the end."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from tools.load.programs import Hogs

ROOT = Path("/sys/fs/cgroup")


class Group:
    """One cgroup with the CPU controller."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()

    def set(self, **values: object) -> None:
        """Write control files: `weight=300` writes cpu.weight."""
        for name, value in values.items():
            (self.folder / f"cpu.{name}").write_text(str(value))

    def take(self, pids: Iterable[int]) -> None:
        """Move processes here."""
        for pid in pids:
            (self.folder / "cgroup.procs").write_text(str(pid))

    def used_us(self) -> int:
        """CPU time of all its tasks so far, in microseconds."""
        stat = dict(line.split() for line in (self.folder / "cpu.stat").read_text().splitlines())
        return int(stat["usage_usec"])

    def child(self, name: str) -> Group:
        """A new group in this one."""
        (self.folder / "cgroup.subtree_control").write_text("+cpu")
        return Group(self.folder / name)

    def remove(self) -> None:
        """Remove the group and those in it; waits until their last tasks are gone."""
        for folder in self.folder.iterdir():
            if folder.is_dir():
                Group.at(folder).remove()
        for _ in range(100):
            with contextlib.suppress(OSError):
                self.folder.rmdir()
                return
            for pid in (self.folder / "cgroup.procs").read_text().split():
                with contextlib.suppress(OSError):
                    (ROOT / "cgroup.procs").write_text(pid)
            time.sleep(0.05)
        self.folder.rmdir()

    @classmethod
    def at(cls, folder: Path) -> Group:
        """A group that exists."""
        group = cls.__new__(cls)
        group.folder = folder
        return group


@contextlib.contextmanager
def tree() -> Iterator[Group]:
    """A group for a test to make others in; skips the test where there is no CPU controller."""
    controllers = ROOT / "cgroup.controllers"
    if not controllers.is_file() or "cpu" not in controllers.read_text().split():
        pytest.skip("no CPU controller in /sys/fs/cgroup (cgroup2)")
    (ROOT / "cgroup.subtree_control").write_text("+cpu")
    top = Group(ROOT / f"pyland-test-{os.getpid()}")
    try:
        yield top
    finally:
        top.remove()


def used_within(groups: Mapping[str, Group], seconds: float) -> dict[str, float]:
    """CPU time of each group within the next seconds, as a part of one CPU."""
    before = {name: group.used_us() for name, group in groups.items()}
    began_ns = time.monotonic_ns()
    time.sleep(seconds)
    after = {name: group.used_us() for name, group in groups.items()}
    passed_us = (time.monotonic_ns() - began_ns) / 1000
    return {name: (after[name] - before[name]) / passed_us for name in groups}


def hogs_in(stack: contextlib.ExitStack, group: Group, number: int, cpu: int | None = None) -> Hogs:
    """Hogs in this group, until the stack ends."""
    hogs = stack.enter_context(Hogs(600, [0] * number, cpu=cpu))
    group.take(hogs.pids)
    return hogs


def shares_of(used: dict[str, float]) -> dict[str, float]:
    """Each group's part of what all groups used."""
    return {name: each / sum(used.values()) for name, each in used.items()}


def near(got: float, wanted: float, also: float = 0) -> bool:
    """True if the part is within 10 % of the wanted one."""
    return abs(got - wanted) <= wanted * 0.1 + also


def cpu_ns(pid: int) -> int:
    """CPU time of a process's first thread, in nanoseconds."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0])
