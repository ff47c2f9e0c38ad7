# SPDX-License-Identifier: GPL-2.0-only
"""A policy is blamed for what it did and for nothing else, and is asked again when it is well."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from tests.kernel.canary import taken_by_real_time
from tests.kernel.harness import GAP_S, Record, ask, scaled, swap
from tests.kernel.turns import Shared
from tools.load.programs import Hogs
from tools.load.scheduler import until

HOSTILE = Path(__file__).with_name("hostile.py")
KHUGEPAGED = Path("/sys/kernel/mm/transparent_hugepage")
BLAMED = "tasks that it knew of had no decision"


def counters() -> dict[str, int]:
    """All that is counted so far."""
    found = ask("status")["counters"]
    assert isinstance(found, dict)
    return found


def growth(before: dict[str, int]) -> dict[str, int]:
    """By how much the counters have grown."""
    return {name: value - before[name] for name, value in counters().items()}


@contextlib.contextmanager
def busy_khugepaged() -> Iterator[None]:
    """A kernel helper of the least weight computes all the time; BPF orders it, not the policy."""
    wanted = {
        "enabled": "always",
        "khugepaged/scan_sleep_millisecs": "0",
        "khugepaged/pages_to_scan": "100000",
    }
    before = {name: (KHUGEPAGED / name).read_text(encoding="ascii") for name in wanted}
    # Of a choice, the brackets say which.
    before["enabled"] = before["enabled"].partition("[")[2].partition("]")[0]
    for name, value in wanted.items():
        (KHUGEPAGED / name).write_text(value, encoding="ascii")
    try:
        yield
    finally:
        for name, value in before.items():
            (KHUGEPAGED / name).write_text(value.strip(), encoding="ascii")


def test_a_policy_is_not_blamed_for_tasks_behind_a_real_time_task(
    shared: Shared, record: Record
) -> None:
    """More tasks than cost a policy its trust are rescued from a CPU, and it is asked as before."""
    with (
        shared.turn(f"{HOSTILE}:OnOneCpu", "cpu=1", right=False) as turn,
        Hogs(600, [0] * 24) as hogs,
    ):
        before = counters()
        with taken_by_real_time(1):
            # Not longer: the kernel's work on that CPU waits too, and its watchdog would notice.
            rescued_s = until(lambda: growth(before)["rescued"] >= 16, 8, step_s=0.2)
        grown = growth(before)
        during = counters()
        decides_s = until(lambda: growth(during)["user_dispatched"] > 50, 30, step_s=0.2)
        shares = hogs.shares(early=True)
    record(rescued_s=rescued_s, grown=grown, decides_s=decides_s, gap_s=shares.longest_gap_s)
    assert rescued_s is not None, f"no tasks were rescued: {grown}"
    assert grown["undecided"] == 0
    assert decides_s is not None, "the policy is not asked"
    assert BLAMED not in turn.output


def test_a_policy_that_forgets_is_blamed(shared: Shared, record: Record) -> None:
    """It is told of, and most of its tasks are not held."""
    with shared.turn(f"{HOSTILE}:Forgets", right=False) as turn, Hogs(600, [0] * 6) as hogs:
        assert until(lambda: BLAMED in turn.output, 60) is not None, turn.scheduler.about()
        before = counters()
        time.sleep(scaled(10, at_least=5))
        grown = growth(before)
        shares = hogs.shares(early=True)
    record(grown=grown, gap_s=shares.longest_gap_s)
    assert grown["forwarded"] > 2 * grown["undecided"], f"{grown}"
    assert shares.longest_gap_s < GAP_S


def test_a_policy_that_is_well_again_is_asked_again_soon(shared: Shared, record: Record) -> None:
    """Not after a time that grows with each fault: after half a second."""
    with shared.turn("deadline", right=False), Hogs(600, [0] * 6):
        before = counters()
        swap(policy=f"{HOSTILE}:ForgetsAtFirst")
        assert until(lambda: growth(before)["undecided"] >= 16, 30) is not None
        blamed = counters()
        asked_s = until(lambda: growth(blamed)["user_dispatched"] > 50, 30)
    record(asked_s=asked_s, undecided=growth(before)["undecided"])
    assert asked_s is not None, "it was never asked again"
    # It is ill for three of them; the rest is for a machine that is not always there.
    assert asked_s < 3 + 3


def test_a_policy_that_thrashes_is_limited_and_told_of(shared: Shared, record: Record) -> None:
    """Tasks have a shortest slice before they are interrupted again."""
    with shared.turn("deadline", right=False) as turn, Hogs(600, [0] * 6) as hogs:
        swap(policy=f"{HOSTILE}:Thrashes")
        before, ticks = counters(), hogs.cpu_s()
        told_s = until(
            lambda: "times it preempted a task that had just begun" in said(turn.output), 60
        )
        time.sleep(scaled(10, at_least=5))
        grown = growth(before)
        progress = {pid: now - ticks[pid] for pid, now in hogs.cpu_s().items()}
        shares = hogs.shares(early=True)
    record(told_s=told_s, grown=grown, progress=progress, gap_s=shares.longest_gap_s)
    assert told_s is not None, turn.scheduler.about()
    assert grown["put_off"] > 100
    assert min(progress.values()) > 0
    assert shares.longest_gap_s < GAP_S


def said(output: str) -> str:
    """What pyland said of policies."""
    return "\n".join(line for line in output.splitlines() if "policy" in line)


def test_after_a_stall_no_task_waits_for_a_rescue(shared: Shared, record: Record) -> None:
    """BPF's own order of the meantime does not stay with the tasks."""
    with (
        shared.turn("deadline", right=False) as turn,
        busy_khugepaged(),
        Hogs(600, [0] * 8) as hogs,
    ):
        time.sleep(1)
        before = counters()
        for _ in range(5):
            with turn.scheduler.stopped():
                time.sleep(0.04)
            time.sleep(2.2)
        grown = growth(before)
        shares = hogs.shares(early=True)
    record(grown=grown, gap_s=shares.longest_gap_s)
    assert grown["fallback_lag"] > 0, "the stalls were no stalls"
    # A rescue comes after 2 s; and sooner where a virtual CPU stood still, which is no fault.
    assert shares.longest_gap_s < 2
