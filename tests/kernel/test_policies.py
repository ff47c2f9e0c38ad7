# SPDX-License-Identifier: GPL-2.0-only
"""Each built-in policy, and one of ten lines, schedules a real load."""

from __future__ import annotations

import re
import time
from pathlib import Path

from pyland.policies import BUILTINS
from tests.kernel.harness import GAP_S, Record, folder_for_policies, scaled
from tests.kernel.turns import Shared
from tools.load.build import ROOT
from tools.load.programs import Hogs, Sleeper
from tools.load.scheduler import until

EXACT = f"{Path(__file__).with_name('exact.py')}:Exact"


def _ten_lines(folder: Path) -> str:
    """The first policy of the page for authors, in a file of its own."""
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    first = re.search(r"```python\n(.*?)```", page, re.DOTALL)
    assert first
    (name,) = re.findall(r"^class (\w+)\(Policy\)", first[1], re.MULTILINE)
    assert len(first[1].splitlines()) <= 12
    (folder / "mine.py").write_text(first[1], encoding="utf-8")
    return f"{folder}/mine.py:{name}"


def test_it_decides_for_hogs_and_a_sleeper(shared: Shared, record: Record) -> None:
    """Python decides nearly all tasks, and no task starves, with each order."""
    seconds = scaled(30, at_least=4)
    with folder_for_policies() as folder:
        for spec in (*BUILTINS, _ten_lines(folder)):
            with (
                shared.turn(spec) as turn,
                Hogs(seconds, [0] * 8) as hogs,
                Sleeper(seconds) as sleeper,
            ):
                wakeups, shares = sleeper.wakeups(), hogs.shares()
            totals = turn.totals
            record(**{spec: (totals.user_share, wakeups.p50_us, wakeups.p99_us)})
            assert totals["forwarded"] > 100, f"{spec}: {totals.counts}"
            assert totals.user_share > 0.95, f"{spec}: {totals.counts}"
            assert shares.longest_gap_s < GAP_S, spec
            assert wakeups.max_us / 1e6 < GAP_S, spec


def test_used_time_is_that_since_the_last_decision(shared: Shared) -> None:
    """Also if the policy left records in between undecided."""
    with (
        shared.turn(EXACT) as turn,
        Hogs(600, [0] * 6),
        Sleeper(600, sleep_us=2_000),
    ):
        assert until(lambda: "checked" in turn.output, 60) is not None, turn.output
        time.sleep(scaled(10))
        said = turn.output
    assert "inexact" not in said, said
