# SPDX-License-Identifier: GPL-2.0-only
"""pyland does little while no task waits, and reacts at once when a task does."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from tests.kernel.harness import GAP_S, Record, Start, ask, ended_well, swap, undisturbed
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import Scheduler, kernel_state, until

pytestmark = [pytest.mark.counted, pytest.mark.long]

NOHZ_FULL = Path("/sys/devices/system/cpu/nohz_full")


def _beats(scheduler: Scheduler, seconds: float) -> float:
    """Heartbeats a second."""
    assert scheduler.running
    begin, before = time.monotonic(), ask("status")["counters"]["heartbeats"]
    time.sleep(seconds)
    after = ask("status")["counters"]["heartbeats"]
    return float((after - before) / (time.monotonic() - begin))


def _ticks() -> list[int]:
    """Interrupts of each CPU's local timer."""
    found = re.search(r"^ *LOC:((?: +\d+)+)", Path("/proc/interrupts").read_text(), re.MULTILINE)
    assert found
    return [int(count) for count in found[1].split()]


def _disturbances_per_s(seconds: float) -> float:
    """Timer interrupts and switches a second, of all CPUs."""

    def count() -> int:
        found = re.search(r"^ctxt (\d+)", Path("/proc/stat").read_text(), re.MULTILINE)
        assert found
        return sum(_ticks()) + int(found[1])

    begin, before = time.monotonic(), count()
    time.sleep(seconds)
    return (count() - before) / (time.monotonic() - begin)


def test_an_idle_machine_is_left_alone(start: Start, record: Record) -> None:
    """Heartbeats are rare; wakeups, swaps, a stopped user space and the end are as always."""
    default = _disturbances_per_s(5)
    scheduler = start()
    with undisturbed(scheduler):
        time.sleep(2)
        disturbed = _disturbances_per_s(5)
        idle = _beats(scheduler, 3)
        with Sleeper(2) as sleeper:
            wakeups = sleeper.wakeups()
        begin = time.monotonic()
        swap(policy="fifo")
        swap(policy="deadline")
        swap_s = time.monotonic() - begin
        with scheduler.stopped(), Hogs(600, [0] * 6) as hogs:
            time.sleep(2)
            while_stopped = hogs.shares(early=True)
        with Hogs(600, [0] * 6):
            busy = _beats(scheduler, 2)
        time.sleep(2)
    end = scheduler.end()
    record(
        disturbances_per_s={"default": default, "pyland": disturbed},
        beats_idle=idle,
        beats_busy=busy,
        wakeup_p99_us=wakeups.p99_us,
        swap_s=swap_s,
        gap_s=while_stopped.longest_gap_s,
        end_s=end.seconds,
        totals=dict(end.totals.counts),
    )
    ended_well(end)
    assert idle < 5  # twenty a second while tasks wait
    assert busy > 5
    assert wakeups.p50_us < 100_000
    assert swap_s < 10
    assert while_stopped.longest_gap_s < GAP_S
    assert min(hog.cpu_ns for hog in while_stopped.hogs) > 0
    assert end.seconds < 3  # promised: 1, where nothing is emulated


def test_a_quiet_machine_gets_its_default_back(start: Start, record: Record) -> None:
    """User space runs only once a second, but the kernel takes over at once after a SIGKILL."""
    scheduler = start()
    time.sleep(2)
    scheduler.stop(signal.SIGKILL)
    took_s = until(lambda: kernel_state() == "disabled", 10)
    record(disabled_s=took_s)
    assert took_s is not None
    assert took_s < 3


@pytest.mark.skipif(
    not NOHZ_FULL.exists() or "1" not in NOHZ_FULL.read_text(),
    reason="CPU 1 keeps its ticks: boot with nohz_full=1",
)
def test_a_tickless_cpu_has_no_ticks(start: Start, record: Record) -> None:
    """No ticks come while one task computes there. Two tasks both get CPU time."""
    scheduler = start()
    with undisturbed(scheduler):
        with Hogs(600, [0], cpu=1):
            time.sleep(2)
            before = _ticks()[1]
            time.sleep(4)
            alone = (_ticks()[1] - before) / 4
        with Hogs(600, [0, 0], cpu=1) as hogs:
            time.sleep(3)
            pinned = hogs.shares(early=True)
        with Hogs(600, [0, 0, 0]) as hogs:
            time.sleep(4)
            free = hogs.shares(early=True)
    end = scheduler.end()
    record(ticks_per_s=alone, uneven=(pinned.uneven, free.uneven), totals=dict(end.totals.counts))
    ended_well(end)
    assert alone < 50  # 250 with ticks
    assert pinned.uneven < 0.5
    assert free.uneven < 0.5
