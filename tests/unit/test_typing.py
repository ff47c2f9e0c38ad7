# SPDX-License-Identifier: GPL-2.0-only
"""A type checker finds the mistakes of a policy's author, and none in a right policy."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).resolve().parents[2]

RIGHT = """\
from collections.abc import Iterator
from pyland import Batch, Decision, Policy, Task, TaskPool, option


class Right(Policy):
    bonus_ms: int = option(5, "head start", least=0)
    lasts_ns = 5_000_000

    def __init__(self) -> None:
        self.pool: TaskPool[Task] = TaskPool()
        self.margin_ns = self.margin_ns + self.machine.slices.shortest_ns

    def enqueue(self, task: Task) -> None:
        task.state += 1
        self.pool.add(task, task.awake_runtime_ns - self.bonus_ms)
        self.dispatch(self.pool.pop(), cpu=task.cpu, vtime_ns=task.state, preempt=True)


class Typed(Policy):
    def decide(self, batch: Batch) -> list[Decision]:
        return [Decision(task, slice_ns=1, vtime_ns=task.used_ns) for task in batch.tasks]


class Flat(Policy):
    def decide(self, batch: Batch) -> list[int]:
        return []
"""

WRONG = {
    "self.dispatch(task, vtime_ns=task.vrtuime_ns)": '"Task" has no attribute "vrtuime_ns"',
    "self.dispatch(task, vtime=1)": 'Unexpected keyword argument "vtime"',
    "self.dispatch(task, vtime_ns=task.comm)": "incompatible type",
    "Decision(task, slice=1)": 'Unexpected keyword argument "slice"',
    "self.machine.pending": '"Machine" has no attribute "pending"',
}


def test_mypy_strict_takes_a_right_policy_and_finds_each_mistake_of_a_wrong_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = tmp_path / "right.py", tmp_path / "wrong.py"
    right.write_text(RIGHT, encoding="utf-8")
    lines = ["from pyland import Decision, Policy, Task", "class Wrong(Policy):"]
    lines += ["    def enqueue(self, task: Task) -> None:", *(f"        {line}" for line in WRONG)]
    wrong.write_text("\n".join(lines), encoding="utf-8")
    # The project's settings and cache: what the type check before this has seen is not read anew.
    monkeypatch.chdir(ROOT)
    output, errors, _ = api.run(["--no-error-summary", str(right), str(wrong)])
    assert not errors
    found = output.splitlines()
    assert "right.py" not in output
    for number, (line, message) in enumerate(WRONG.items(), start=4):
        assert [each for each in found if f"wrong.py:{number}:" in each and message in each], line
