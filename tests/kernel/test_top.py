# SPDX-License-Identifier: GPL-2.0-only
"""`pyland top` on a machine that pyland schedules: what is late is seen, and a swap by keys."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.kernel.harness import Record, Start, folder_for_policies, undisturbed
from tests.support.screens import OnTerminal
from tools.load.programs import Hogs
from tools.load.scheduler import PYLAND

# Each decision for the task `late_one` puts it behind what the others wait for.
UNFAIR = """
from pyland import Policy, Task

class Unfair(Policy):
    def enqueue(self, task: Task) -> None:
        late = 300_000_000 if task.comm == "late_one" else 0
        self.machine.gauge("behind_ms", late / 1e6)
        if late:
            self.machine.note(task, "put behind")
        self.dispatch(task, vtime_ns=task.enqueue_ns + late)
"""
LATE = """
import time
with open("/proc/self/comm", "w") as comm:
    comm.write("late_one")
while True:
    time.sleep(0.01)
    until_s = time.thread_time() + 0.002
    while time.thread_time() < until_s:
        pass
"""


def _row(screen: OnTerminal, name: str) -> list[str]:
    """The words of the task's row; empty if it is not on the screen."""
    rows = [one.split() for one in screen.lines if re.match(r" *\d+ [A-Z] ", one)]
    return next((row for row in rows if len(row) > 9 and row[9].startswith(name)), [])


def _waits(screen: OnTerminal, name: str, percent: int) -> bool:
    """Read until the task is on the screen and waits for so much of its time."""
    return screen.until(
        lambda _: bool(row := _row(screen, name)) and int(row[5].rstrip("%")) >= percent
    )


def _cpu_s(pid: int) -> float:
    """CPU time of all threads of a process, in seconds."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/schedstat")]
    return sum(int(text.split()[0]) for text in texts) / 1e9


@pytest.mark.long
def test_what_hogs_and_what_is_late_is_seen(start: Start, record: Record) -> None:
    with folder_for_policies() as folder, Hogs(200, [0] * 3):
        (folder / "unfair.py").write_text(UNFAIR)
        scheduler = start("--policy", f"{folder}/unfair.py:Unfair", "--stats-mode", "666")
        late = subprocess.Popen([sys.executable, "-c", LATE])
        try:
            with undisturbed(scheduler), OnTerminal([str(PYLAND), "top"]) as screen:
                assert screen.shows("pyland unfair", "behind_ms", "% ", "hogs"), screen.text
                assert _waits(screen, "late_one", 50), screen.text
                assert _row(screen, "late_one")[0] == str(late.pid)
                assert screen.shows("late_one: put behind"), screen.text
                record(screen=screen.text)
                screen.press("/late\n")
                assert screen.shows("1 tasks of process 'late'"), screen.text
                assert not _row(screen, "hogs")
                screen.press("\x1bc")
                assert screen.shows("sorted by cpu", "hogs"), screen.text
                used_s, begin_s = _cpu_s(screen.pid), time.monotonic()
                screen.until(lambda _: time.monotonic() > begin_s + 10)
                share = (_cpu_s(screen.pid) - used_s) / (time.monotonic() - begin_s)
                record(cpu_share=share)
                screen.press("p")
                assert screen.shows("new policy"), screen.text
                screen.press("vtime\n")
                assert screen.shows("swap to vtime? y for yes"), screen.text
                screen.press("y")
                assert screen.shows("unfair -> vtime, paused"), screen.text
                assert screen.shows("pyland vtime"), screen.text
                screen.press("q")
                assert screen.status() == 0
            with OnTerminal([str(PYLAND), "top"], user=65534) as screen:
                assert screen.shows("pyland vtime"), screen.text
                screen.press("p")
                assert screen.shows("not allowed: only root and the user who"), screen.text
                assert scheduler.end().status == 0
                assert screen.shows("no pyland"), screen.text
                screen.press("q")
                assert screen.status() == 0
        finally:
            late.kill()
            late.wait()
