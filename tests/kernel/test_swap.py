# SPDX-License-Identifier: GPL-2.0-only
"""The policy changes while pyland schedules; only the order of tasks changes."""

from __future__ import annotations

import itertools
import subprocess
import time
from pathlib import Path

import pytest

from pyland.policies import BUILTINS
from tests.kernel.harness import (
    GAP_S,
    Record,
    Start,
    ask,
    ended_well,
    folder_for_policies,
    scaled,
    swap,
    undisturbed,
)
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import PYLAND, until

pytestmark = pytest.mark.long

SWAPS = 200

EDITED = """
from pyland import Policy, Task

class Mine(Policy):
    name = "{name}"

    def enqueue(self, task: Task) -> None:
        self.dispatch(task)
"""


@pytest.mark.counted
@pytest.mark.long
def test_two_hundred_swaps_lose_no_task(start: Start, record: Record) -> None:
    """Between all built-in policies, under load: never disabled, and every task keeps running."""
    scheduler = start()
    pauses_us = []
    with undisturbed(scheduler), Hogs(600, [0] * 6) as hogs, Sleeper(600) as sleeper:
        for name in itertools.islice(itertools.cycle(BUILTINS), SWAPS):
            answer = swap(policy=name)
            assert answer["policy"] == name
            pauses_us.append(answer["pause_us"])
            time.sleep(0.02)
        # Soon after the last swap the new policy was asked about every queued task.
        before = hogs.cpu_s()
        time.sleep(scaled(10, at_least=5))
        after = hogs.cpu_s()
        wakeups, shares = sleeper.wakeups(early=True), hogs.shares(early=True)
    end = scheduler.end()
    record(pause_us_max=max(pauses_us), pause_us_median=sorted(pauses_us)[SWAPS // 2])
    record(gap_s=shares.longest_gap_s, totals=dict(end.totals.counts))
    ended_well(end)
    assert end.totals["swaps"] == SWAPS
    assert end.totals["handed_over"] > 0
    assert all(after[pid] > before[pid] for pid in before)
    assert shares.longest_gap_s < GAP_S
    assert wakeups.max_us / 1e6 < GAP_S


def test_an_edited_module_is_taken_anew(start: Start) -> None:
    """`pyland swap --reload`, as a user types it; after a mistake the old policy stays."""
    with folder_for_policies() as folder:
        mine = folder / "mine.py"
        mine.write_text(EDITED.format(name="first"))
        scheduler = start("--policy", f"{mine}:Mine")
        with undisturbed(scheduler), Hogs(600, [0] * 4):
            assert ask("status")["policy"] == "first"
            mine.write_text(EDITED.format(name="second"))
            done = subprocess.run(
                [PYLAND, "swap", "--reload"], capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr
            assert "first -> second" in done.stdout
            mine.write_text("this is no Python")
            done = subprocess.run(
                [PYLAND, "swap", "--reload"], capture_output=True, text=True, check=False
            )
            assert done.returncode == 2
            assert "SyntaxError" in done.stderr
            assert done.stderr.count("\n") == 1
            assert ask("status")["policy"] == "second"
        ended_well(scheduler.end())


def test_it_ends_up_as_nobody(
    start: Start, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When attached, the process of the policy runs as the calling user without rights."""
    monkeypatch.setenv("SUDO_UID", "65534")
    monkeypatch.setenv("SUDO_GID", "65534")
    scheduler = start()
    with undisturbed(scheduler), Hogs(600, [0] * 4):
        time.sleep(3)
        process = ask("status")["process"]
        assert process["capabilities"] == "none"
        assert process["user"] == "65534"
        fields = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{scheduler.worker_pid}/status").read_text().splitlines()
        )
    record(process=process)
    end = scheduler.end()
    ended_well(end)
    assert fields["Uid"].split() == ["65534"] * 4
    assert fields["Groups"].split() == []
    assert int(fields["CapPrm"], 16) == int(fields["CapEff"], 16) == 0
    assert end.totals["user_dispatched"] > 0


FLOOD = """
import os, socket, sys, time
os.setgid(65533); os.setuid(65533)
refused = 0
for i in range(1000):
    s = socket.socket(socket.AF_UNIX); s.settimeout(1)
    try:
        s.connect("/run/pyland/control.sock"); s.send(os.urandom(64))
    except OSError:
        refused += 1
    s.close()
print(refused)
"""


def test_another_user_can_do_nothing(start: Start, record: Record) -> None:
    """The user can not swap or ask, and many connections do not delay dispatching."""
    scheduler = start()
    with undisturbed(scheduler), Hogs(600, [0] * 4) as hogs, Sleeper(600) as sleeper:
        for command in (["status"], ["swap", "--policy", "fifo"]):
            done = subprocess.run(
                ["setpriv", "--reuid=65533", "--regid=65533", "--clear-groups", PYLAND, *command],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert done.returncode == 2
            assert done.stderr.count("\n") == 1, done.stderr
        flood = subprocess.run(["python3", "-c", FLOOD], capture_output=True, text=True, check=True)
        assert ask("status")["policy"] == "deadline"
        wakeups, shares = sleeper.wakeups(early=True), hogs.shares(early=True)
    record(refused=int(flood.stdout), gap_s=shares.longest_gap_s)
    ended_well(scheduler.end())
    assert int(flood.stdout) == 1000
    assert shares.longest_gap_s < GAP_S
    assert wakeups.max_us / 1e6 < GAP_S


def test_megabytes_of_nonsense_change_nothing(start: Start, record: Record) -> None:
    """Long lines, random bytes and a thousand connections from root have no effect."""
    flood = FLOOD.replace("os.setgid(65533); os.setuid(65533)", "").replace(
        "os.urandom(64)", "os.urandom(64) if i else bytes(10 << 20)"
    )
    scheduler = start()
    with undisturbed(scheduler), Hogs(600, [0] * 4) as hogs:
        subprocess.run(["python3", "-c", flood], capture_output=True, check=True)
        assert until(lambda: ask("status")["policy"] == "deadline", 30) is not None
        shares = hogs.shares(early=True)
    record(gap_s=shares.longest_gap_s)
    ended_well(scheduler.end())
    assert shares.longest_gap_s < GAP_S
