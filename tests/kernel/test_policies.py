# SPDX-License-Identifier: GPL-2.0-only
"""Each built-in policy, and one of ten lines, schedules a real load."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

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
from tools.load.build import ROOT
from tools.load.programs import Hogs, Sleeper


def _ten_lines(folder: Path) -> str:
    """The first policy of the page for authors, in a file of its own."""
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    first = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert first
    (name,) = re.findall(r"^class (\w+)\(Policy\)", first[1], re.MULTILINE)
    assert len(first[1].splitlines()) <= 12
    (folder / "mine.py").write_text(first[1], encoding="utf-8")
    return f"{folder}/mine.py:{name}"


def test_it_decides_for_hogs_and_a_sleeper(start: Start, record: Record) -> None:
    """Python decides nearly all tasks, and no task starves, with each order."""
    with folder_for_policies() as folder:
        _run_all((*BUILTINS, _ten_lines(folder)), start, record)


def _run_all(specs: Iterable[str], start: Start, record: Record) -> None:
    scheduler = start()
    for spec in specs:
        with undisturbed(scheduler):
            swap(policy=spec)
            before = ask("status")["counters"]
            seconds = scaled(30)
            with Hogs(seconds, [0] * 8) as hogs, Sleeper(seconds) as sleeper:
                wakeups, shares = sleeper.wakeups(), hogs.shares()
            after = ask("status")["counters"]
        counts = {name: after[name] - before[name] for name in after}
        decided = counts["user_dispatched"] / max(counts["forwarded"], 1)
        record(**{spec: (decided, wakeups.p50_us, wakeups.p99_us, shares.longest_gap_s)})
        assert counts["forwarded"] > 100, f"{spec}: {counts}"
        assert decided > 0.95, f"{spec}: {counts}"
        assert shares.longest_gap_s < GAP_S, spec
        assert wakeups.max_us / 1e6 < GAP_S, spec
    ended_well(scheduler.end())
