# SPDX-License-Identifier: GPL-2.0-only
"""What `pyland top` reads: the real /proc, a made-up one, and the statistics server."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from pyland.top.control import Control
from pyland.top.feed import Feed
from pyland.top.machine import Machine
from pyland.top.statistics import Statistics
from pyland.top.tasks import Tasks, TaskSeen
from tests.support.served import Served
from tests.support.statistics import Kernel, serving


class Proc:
    """A folder like /proc with tasks that the test moves on."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def set(
        self, tid: int, exec_ns: int, delay_ns: int, runs: int, *,
        state: str = "S", comm: str = "task", cpu: int = 0, pid: int = 0,
    ) -> None:  # fmt: skip
        folder = self.path / f"{pid or tid}/task/{tid}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder.parents[1] / "comm").write_text("leader\n")
        (folder / "cgroup").write_text("1:x:/old\n0::/web.slice\n")
        fields = [state, *["0"] * 15, "-5", *["0"] * 19, str(cpu), *["0"] * 13]
        (folder / "stat").write_text(f"{tid} ({comm}) {' '.join(fields)}\n")
        (folder / "schedstat").write_text(f"{exec_ns} {delay_ns} {runs}\n")


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_rates_are_those_between_two_looks(proc: Proc) -> None:
    tasks = Tasks(proc.path, budget_s=10)
    proc.set(5, 10**9, 0, 10, comm="a) b (c", cpu=3)
    tasks.look(100.0)
    proc.set(5, 2 * 10**9, 5 * 10**8, 30, comm="a) b (c", cpu=3, state="R")
    tasks.look(102.0)
    (task,) = tasks.active
    assert (task.comm, task.cpu, task.nice, task.state) == ("a) b (c", 3, -5, "R")
    assert (task.cpu_share, task.wait_share, task.runs_per_s) == (0.5, 0.25, 10)
    assert task.mean_wait_ns == 25_000_000
    assert task.waits_s == 0
    assert task.process == ""
    tasks.know_cgroups([task], 102.0)
    assert task.cgroup == "/web.slice"


def test_a_task_that_waits_all_the_time_is_seen(proc: Proc) -> None:
    """The kernel counts its wait only when it is over."""
    tasks = Tasks(proc.path, budget_s=10)
    proc.set(5, 100, 0, 10)
    tasks.look(100.0)
    proc.set(5, 100, 0, 10, state="R")
    told = []
    for now_s in (101.0, 102.0, 105.0):
        tasks.look(now_s)
        told.append(tasks.known[5].waits_s)
    assert told == [0, 1, 4]
    assert tasks.known[5].wait_share == 1
    proc.set(5, 200, 5 * 10**9, 11, state="S")
    tasks.look(106.0)
    assert tasks.known[5].waits_s == 0
    assert tasks.known[5].mean_wait_ns == 5 * 10**9


def test_a_sleeper_is_not_active_and_an_ended_task_is_forgotten(proc: Proc) -> None:
    tasks = Tasks(proc.path, budget_s=10)
    for tid in (5, 6):
        proc.set(tid, 100, 0, 10, pid=5)
    for number in range(6):
        tasks.look(100.0 + number)
    assert tasks.active == []
    assert tasks.known[6].process == "leader"
    for file in (proc.path / "5/task/6").iterdir():
        file.unlink()
    (proc.path / "5/task/6").rmdir()
    for number in range(6):
        tasks.look(110.0 + number)
    assert tasks.known.keys() == {5}


def test_all_tasks_come_with_any_budget() -> None:
    """A look reads a part of them; those that ran last do not keep the others away."""
    done = threading.Event()
    threads = [threading.Thread(target=done.wait) for _ in range(300)]
    for thread in threads:
        thread.start()
    try:
        tasks = Tasks(budget_s=0.001)
        first = time.monotonic()
        tasks.look()
        nr_read = tasks.nr_read
        assert 0 < nr_read < len(threads)
        mine = {thread.native_id for thread in threads}
        while not mine <= tasks.known.keys():
            assert time.monotonic() - first < 60
            tasks.look()
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_the_machine_itself() -> None:
    """CPUs as the kernel numbers them, and times that can be."""
    machine = Machine()
    machine.look()
    until_s = time.thread_time() + 0.3
    while time.thread_time() < until_s:
        pass
    found = machine.look()
    assert len(found.cpus) == psutil.cpu_count()
    assert max(cpu.busy for cpu in found.cpus) > 0.1
    assert all(0 <= cpu.busy <= 1 for cpu in found.cpus)
    assert {cpu for domain in found.domains for cpu in domain.cpus} == {c.id for c in found.cpus}
    assert 0 < found.memory_used < found.memory_total


def test_waits_of_each_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sum of the waits in a second is the number of tasks that waited."""
    online = psutil.cpu_count() or 1
    cpus = tmp_path / "sys/cpu"
    cpus.mkdir(parents=True)
    for name in ("online", "possible"):
        (cpus / name).write_text(f"0-{online - 1}\n")
    monkeypatch.setattr("pyland.top.machine.time.monotonic", iter((100.0, 102.0)).__next__)
    machine = Machine(tmp_path, tmp_path / "sys")
    schedstat = tmp_path / "schedstat"
    schedstat.write_text("version 17\ntimestamp 1\ncpu0 0 0 0 0 0 0 0 0 0\ndomain0 MC 3 0\n")
    machine.look()
    schedstat.write_text("version 17\ntimestamp 1\ncpu0 0 0 0 0 0 0 0 6000000000 20\n")
    found = machine.look()
    assert (found.cpus[0].waiting, found.cpus[0].runs_per_s) == (3, 10)
    assert found.domains[0].waiting == 3
    assert found.domains[0].mean_wait_ns == found.mean_wait_ns == 300_000_000


def test_the_task_that_decides_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits while tasks run, and no task is late for that."""
    monkeypatch.setattr("pyland.top.machine.time.monotonic", iter((100.0, 101.0)).__next__)
    machine = Machine(tmp_path)
    schedstat = tmp_path / "schedstat"
    schedstat.write_text("cpu0 0 0 0 0 0 0 0 0 0\n")
    machine.look()
    schedstat.write_text("cpu0 0 0 0 0 0 0 0 2000000000 100\n")
    found = machine.look(TaskSeen(7, 7, waited_ns=10**9, nr_runs=75))
    assert (found.cpus[0].waiting, found.cpus[0].runs) == (1, 25)


def test_without_schedstat_nothing_is_made_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.look()
    found = machine.look()
    assert found.mean_wait_ns is None
    assert {cpu.waiting for cpu in found.cpus} == {None}


@contextmanager
def following(path: Path) -> Iterator[Feed]:
    feed = Feed(path)
    feed.start()
    try:
        yield feed
    finally:
        feed.stop(within_s=20)


def until_answered(feed: Feed) -> Statistics:
    """The next answer of a server."""
    for _ in range(600):
        latest, _ = feed.answer(feed.ask(), 1.0)
        if latest is not None:
            return latest
        time.sleep(0.05)
    raise AssertionError(feed.answer(0, 0)[1])


def test_the_feed_survives_the_server(tmp_path: Path) -> None:
    path, kernel = tmp_path / "stats", Kernel()
    with following(path) as feed:
        for policy_gauge in (3, 4):
            for _ in range(200):
                latest, trouble = feed.answer(feed.ask(), 0.1)
                if latest is None and trouble == f"no server listens at {path}":
                    break
                time.sleep(0.05)
            assert latest is None
            kernel.own.gauge("waiting", policy_gauge)
            with serving(kernel, path):
                first = until_answered(feed)
                assert first.policy == "deadline"
                assert first.policy_gauges == {"waiting": policy_gauge}
                assert first.worker_pid == os.getpid()
                for _ in range(200):
                    kernel.add(direct=50)
                    if until_answered(feed).growth["direct"] >= 50:
                        break
                    time.sleep(0.01)
                else:
                    raise AssertionError("nothing grows")


def test_a_request_of_the_control_socket_ends_in_a_wake(served: Served) -> None:
    woken = threading.Event()
    control = Control(woken.set, served.path)
    assert control.take() is None
    assert control.status()
    assert not control.swap("fifo")  # one at a time
    while not woken.wait(0.01):
        served.step()
    told = control.take()
    assert told is not None
    assert (told.request, told.error) == ("status", "")
    assert control.swap("fifo slice=1")
    woken.clear()
    while not woken.wait(0.01):
        served.step()
    assert served.got[-1].what.wanted.given == ("slice=1",)  # type: ignore[union-attr]
    assert control.take() is not None
    served.path.unlink()
    woken.clear()
    assert control.status()
    assert woken.wait(20)
    told = control.take()
    assert told is not None
    assert "pyland does not run here" in told.error
