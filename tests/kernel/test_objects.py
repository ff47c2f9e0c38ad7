# SPDX-License-Identifier: GPL-2.0-only
"""The BPF object of every clang here (tools/lab/objects.py) schedules on every kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.harness import GAP_S, Record, Start, ended_well, undisturbed
from tools.lab import objects
from tools.load import scheduler as system
from tools.load.programs import Hogs, Sleeper

pytestmark = [pytest.mark.compat, pytest.mark.counted]

# In a mount namespace of its own: nothing else on the machine sees the other object.
INSTEAD = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"')


def _others() -> list[Path]:
    """All objects except the one that every other test loads."""
    loaded = objects.LOADED.read_bytes() if objects.LOADED.exists() else b""
    return [path for path in objects.built() if path.read_bytes() != loaded]


@pytest.mark.parametrize("path", _others(), ids=lambda path: path.parent.name)
def test_the_object_of_another_clang_schedules(path: Path, start: Start, record: Record) -> None:
    assert objects.is_fresh(path), "older than its sources: python -m tools.lab.objects"
    scheduler = start(program=(*INSTEAD, path, objects.LOADED, system.PYLAND))
    with undisturbed(scheduler), Hogs(4, [0] * 6) as hogs, Sleeper(4) as sleeper:
        wakeups, shares = sleeper.wakeups(), hogs.shares()
    end = scheduler.end()
    record(p99_us=wakeups.p99_us, gap_s=shares.longest_gap_s, totals=dict(end.totals.counts))
    ended_well(end)
    # Most of them on an idle machine; but the host that emulates this kernel may be busy.
    assert end.totals["user_dispatched"] > 50
    assert shares.longest_gap_s < GAP_S
    assert wakeups.p99_us < 1_000_000
