# SPDX-License-Identifier: GPL-2.0-only
"""Layers that name a policy, and policies in a file of their own, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.layered import layer

MINE = """
from pyland import Batch, CPU_ANY, Policy, Task, option


class Seeing(Policy):
    '''Notes what it sees, and orders by the time of the enqueue.'''

    bonus_ms: int = option(3, "nothing", least=0, most=10)

    def __init__(self):
        self.seen = []
        self.cpus = [self.machine.topology.online]
        self.gone = []

    def resized(self):
        self.cpus.append(self.machine.topology.online)

    def enqueue(self, task):
        self.seen.append((task.comm, task.state))
        self.machine.gauge("asked", len(self.seen))
        task.state = 77
        self.dispatch(task)

    def exited(self, pid):
        self.gone.append(pid)


class Broken(Policy):
    '''Raises.'''

    def enqueue(self, task):
        raise RuntimeError("no idea")


class Forgetting(Policy):
    '''Decides nothing.'''

    fields = ("seq", "pid")

    def decide(self, batch):
        return []


class Far(Policy):
    '''Names CPUs and domains of others.'''

    def enqueue(self, task):
        if task.seq % 2:
            self.dispatch(task, domain=3)
        else:
            self.dispatch(task, task.seq % 8)
"""


def mine(folder: Path) -> str:
    """The file with the policies above."""
    path = folder / "mine.py"
    path.write_text(MINE, encoding="utf-8")
    return str(path)


def with_policy(one: dict[str, Any], policy: str, **options: Any) -> dict[str, Any]:
    return {**one, "policy": policy, **({"options": options} if options else {})}


def confined(name: str, cpus: int = 2, **options: Any) -> dict[str, Any]:
    return layer(name, cpus_range=[cpus, cpus], **options)
