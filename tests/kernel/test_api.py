# SPDX-License-Identifier: GPL-2.0-only
"""What a policy can do and learn beyond order and slices, on the kernel."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from pathlib import Path

from tests.kernel.harness import GAP_S, Record, Start, scaled
from tests.kernel.turns import Shared
from tools.load.programs import Hogs, Sleeper, Spawner

PLACING = Path(__file__).with_name("placing.py")


def _cpu(pid: int) -> int:
    """The CPU on which a task runs or ran last."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[36])


def test_domains_keep_their_tasks(shared: Shared, record: Record) -> None:
    """A CPU takes tasks of other domains only if it would idle."""
    seen: Counter[tuple[int, int]] = Counter()
    with shared.turn(f"{PLACING}:ByDomain") as turn, Hogs(600, [0, 0, 0, 5, 5, 5]) as hogs:
        time.sleep(2)
        until_s = time.monotonic() + scaled(20)
        while time.monotonic() < until_s:
            for index, pid in enumerate(hogs.pids):
                seen[index // 3, _cpu(pid)] += 1
            time.sleep(0.05)
        shares = hogs.shares(early=True)
    record(seen=str(dict(seen)), gap_s=shares.longest_gap_s, totals=dict(turn.totals.counts))
    at_home = seen[0, 0] + seen[1, 1]
    assert at_home > 0.9 * sum(seen.values())
    assert shares.longest_gap_s < GAP_S


def test_everything_that_can_be_known_is_plausible(start: Start, record: Record) -> None:
    """All fields, all events, ticks, kicks and preemptions; the policy itself checks them."""
    scheduler = start("--strict", "--policy", f"{PLACING}:Curious")
    with Hogs(600, [0] * 4), Sleeper(600), Spawner(300, 20):
        status = scheduler.wait(120)
    record(output=scheduler.output[-2500:])
    assert "raised SystemExit: all is well" in scheduler.output, scheduler.about()
    assert status == 1


def test_what_is_runnable_is_counted_whatever_becomes_of_it(start: Start, record: Record) -> None:
    """Eight hogs: four change their nice value, four leave for another class and stop there."""
    options = ("--policy", f"{PLACING}:Gauging", "--policy-opt", "after_ms=12000")
    with Hogs(600, [0] * 8) as hogs:
        scheduler = start("--strict", *options)
        for pid in hogs.pids[:4]:
            os.setpriority(os.PRIO_PROCESS, pid, 5)
        for pid in hogs.pids[4:]:
            # Most of them wait for a CPU then, and leave pyland's queues.
            os.sched_setscheduler(pid, os.SCHED_RR, os.sched_param(1))
            os.kill(pid, signal.SIGSTOP)
        status = scheduler.wait(120)
    record(output=scheduler.output[-2500:])
    said = re.search(r"raised SystemExit: runnable: (\d+), weight: (\d+)", scheduler.output)
    assert said, scheduler.about()
    assert status == 1
    nr, weight = map(int, said.groups())
    assert nr in (4, 5)  # and this test itself
    nice_5 = 100 * 335 // 1024
    assert 4 * nice_5 <= weight <= 4 * (nice_5 + 1) + 100
