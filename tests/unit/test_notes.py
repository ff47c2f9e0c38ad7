# SPDX-License-Identifier: GPL-2.0-only
"""What a policy notes about tasks: bounded, and harmless wherever it is shown."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyland import Policy, Task
from pyland.compose import Composed, Part
from pyland.stats import notes, numbers, openmetrics
from pyland.stats.counters import TOTALS
from pyland.stats.monitor import Monitor, notes_of
from pyland.stats.notes import NOTES_MAX, PID_MAX, TEXT_MAX
from pyland.stats.numbers import SIZE, PolicyNumbers
from pyland.stats.table import Table, notes_line
from pyland.testing import OfflineMachine, make_topology
from tests.support.statistics import Kernel, Talker, parsed_metrics, serving

HOSTILE = (
    "\x1b[2J",
    'x"} 1\n# EOF\n',
    "\u202eevil",
    "\\x1b[2J",
    "\0in\0side",
    "\udcff",
    "\U0001f600" * 20,
)


@pytest.fixture
def own() -> PolicyNumbers:
    return PolicyNumbers()


def told(own: PolicyNumbers) -> dict[int, str]:
    return {one.pid: one.text for one in own.read_notes()}


class Noting(Policy):
    """Notes what it takes a task for."""

    def enqueue(self, task: Task) -> None:
        kind = "sleeps" if task.is_wakeup else "computes"
        self.machine.note(task, kind)
        self.machine.note(task.pid, kind)
        self.dispatch(task)


def test_a_test_sees_what_statistics_would_show() -> None:
    machine = OfflineMachine(make_topology(cpus=1), Noting)
    tasks = [machine.add("hog"), machine.add("other"), machine.add("third")]
    for task in tasks:
        machine.wake(task)
    machine.run(200_000_000)
    assert set(machine.notes) == {task.pid for task in tasks}
    assert set(machine.notes.values()) == {"computes"}


def test_a_task_has_its_last_note(own: PolicyNumbers) -> None:
    own.note(5, "game", 100)
    own.note(6, "hog", 200)
    own.note(5, "a" * 100, 300)
    first, second = own.read_notes()
    assert (first.pid, first.text, first.time_ns) == (6, "hog", 200)
    assert (second.pid, second.text, second.time_ns) == (5, "a" * TEXT_MAX, 300)
    assert second.number > first.number
    memory = memoryview(own.notes._bytes)
    assert notes.read(memory, 0, first.number) == [second]
    own.note(6, "", 400)
    assert [one.text for one in own.read_notes()] == ["a" * TEXT_MAX, ""]
    for pid in (0, -1, PID_MAX + 1):
        with pytest.raises(ValueError, match="a task has a number from 1"):
            own.note(pid, "x", 1)
    with pytest.raises(TypeError):
        own.note(5, 7, 1)  # type: ignore[arg-type]
    assert told(own) == {5: "a" * TEXT_MAX, 6: ""}


def test_the_oldest_makes_room(own: PolicyNumbers) -> None:
    for pid in range(1, 1001):
        own.note(pid, f"number {pid}", pid)
    assert told(own) == {pid: f"number {pid}" for pid in range(1001 - NOTES_MAX, 1001)}
    own.note(1, "again", 5)
    assert len(own.notes._known) == NOTES_MAX
    assert told(own)[1] == "again"
    assert 1001 - NOTES_MAX not in told(own)
    own.note(990, "changed", 5)
    assert told(own)[990] == "changed"
    assert len(told(own)) == NOTES_MAX


def test_a_swap_that_fails_leaves_the_notes(own: PolicyNumbers) -> None:
    own.note(5, "old", 1)
    saved = own.save()
    own.clear()
    assert told(own) == {}
    own.note(7, "new", 2)
    own.restore(saved)
    assert told(own) == {5: "old"}
    own.note(5, "older", 3)
    assert told(own) == {5: "older"}


@given(st.integers(0, 1 << 32))
def test_any_memory_can_be_read(seed: int) -> None:
    found = numbers.read_notes(memoryview(Random(seed).randbytes(SIZE)))
    assert len(found) <= NOTES_MAX
    assert len({one.pid for one in found}) == len(found)
    assert all(0 < one.pid <= PID_MAX and 0 <= one.time_ns < 1 << 63 for one in found)


@given(st.lists(st.tuples(st.integers(1, PID_MAX), st.text() | st.sampled_from(HOSTILE))))
def test_whatever_is_noted_is_safe_to_show(noted: list[tuple[int, str]]) -> None:
    kernel = Kernel()
    for pid, text in noted:
        kernel.own.note(pid, text, 1)
    source = kernel.source()
    shown = openmetrics.text(source.snapshot(), {}, openmetrics.noted_tasks(source.notes()))
    assert shown.replace("\n", "").isprintable()
    families = {one.name: one for one in parsed_metrics(shown)}
    labels = [one.labels["note"] for one in families["pyland_policy_noted_tasks"].samples]
    assert len(set(labels)) == len(labels) <= openmetrics.NOTED_MAX + 1
    assert notes_line([(one.pid, one.text) for one in source.notes()]).isprintable()


def test_metrics_count_the_tasks_with_each_note() -> None:
    kernel = Kernel()
    for pid in range(1, 101):
        kernel.own.note(pid, "game" if pid <= 60 else f"other {pid}", 1)
    found = openmetrics.noted_tasks(kernel.source().notes())
    assert found["game"] == 60
    assert len(found) == openmetrics.NOTED_MAX + 1
    assert sum(found.values()) == 100


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Kernel, Path]]:
    kernel, path = Kernel(), tmp_path / "stats"
    with serving(kernel, path):
        yield kernel, path


def test_a_client_sees_all_notes_or_the_new_ones(served: tuple[Kernel, Path]) -> None:
    kernel, path = served
    for pid, text in enumerate(HOSTILE, 1):
        kernel.own.note(pid, text, pid)
    with closing(Talker(path)) as client:
        found = client.ask("stats", target="notes")
        assert found["policy"] == "deadline"
        assert [one["task"] for one in found["notes"]] == [*range(1, len(HOSTILE) + 1)]
        assert all(one["note"].isprintable() for one in found["notes"])
        assert found["notes"][0]["note"] == "\\x1b[2J"
        kernel.own.note(3, "new", 77)
        after = str(found["notes"][-1]["number"])
        (one,) = client.ask("stats", target="notes", after=after)["notes"]
        assert (one["task"], one["note"], one["time_ns"]) == (3, "new", 77)
        time.sleep(0.02)  # a snapshot serves all clients for 10 ms
        assert client.ask("stats")["policy_notes"] == len(HOSTILE) + 1
        for wrong in ("-1", "x", "9" * 30, ""):
            answer = client.send(
                b'{"req": "stats", "args": {"target": "notes", "after": "%s"}}' % wrong.encode()
            )
            assert answer["errno"] == 22
            assert "is the number of a note" in answer["args"]["resp"]


def test_a_hostile_policy_fills_the_memory(served: tuple[Kernel, Path]) -> None:
    kernel, path = served
    kernel.own_memory[:] = b"\xff" * len(kernel.own_memory)
    with closing(Talker(path)) as client:
        assert client.ask("stats", target="notes")["notes"] == []
        kernel.own_memory[:] = Random(1).randbytes(len(kernel.own_memory))
        found = client.ask("stats", target="notes")["notes"]
        assert len(found) <= NOTES_MAX
        assert client.ask("stats")["policy_notes"] >= 0


def test_monitor_shows_the_newest() -> None:
    found = {"notes": [{"task": pid, "note": f"n{pid}"} for pid in range(1, 11)]}
    assert notes_line([*notes_of(found).items()]).startswith("  noted: 10 'n10', 9 'n9', ")
    assert notes_line([*notes_of(found).items()]).endswith("3 'n3', and 2 more")
    wrongs: tuple[object, ...] = (
        None,
        [],
        {"notes": 5},
        {"notes": [5, {"task": "1", "note": "x"}]},
    )
    for wrong in wrongs:
        assert notes_of(wrong) == {}
    monitor = Monitor(policy_numbers=True)
    statistics = dict.fromkeys(TOTALS, 0)
    rows = monitor.told(statistics, Table(), {"notes": [{"task": 7, "note": "\x1bgame"}]})
    assert rows.splitlines()[-1] == "  noted: 7 '\\x1bgame'"


def test_notes_of_a_part_are_those_of_the_machine() -> None:
    class One(Composed):
        parts: ClassVar = {"all": Part(Noting)}

        def part_of(self, task: Task) -> str:
            return "all"

    machine = OfflineMachine(make_topology(cpus=1), One)
    for name in ("hog", "other"):
        machine.wake(machine.add(name))
    machine.run(200_000_000)
    assert set(machine.notes.values()) == {"computes"}


def test_a_note_is_cheap(own: PolicyNumbers) -> None:
    """The limit is for a busy machine."""
    least_s = math.inf
    for turn in range(5):
        begin_s = time.perf_counter()
        for value in range(10_000):
            own.note(value % 500 + 1, f"{turn}", value)
        least_s = min(least_s, time.perf_counter() - begin_s)
    assert least_s / 10_000 < 20e-6
