# SPDX-License-Identifier: GPL-2.0-only
"""The command refuses with a clear line, and changes only what it should."""

from __future__ import annotations

import subprocess
import time

import pytest

from tests.kernel.harness import Record, Start, ended_well, scaled, undisturbed
from tools.load.programs import Hogs
from tools.load.scheduler import PYLAND, kernel_state

SCHED_EXT_POLICY = 7


def _refused(*options: str) -> str:
    """The one line with which pyland ends."""
    result = subprocess.run(
        [PYLAND, *options], capture_output=True, text=True, timeout=90, check=False
    )
    assert result.returncode == 2, result.stdout + result.stderr
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def test_a_second_instance_leaves_the_first_alone(start: Start) -> None:
    """The kernel takes one scheduler: the second names the one that is there."""
    scheduler = start()
    with undisturbed(scheduler):
        assert kernel_state("root/ops") in _refused()
    ended_well(scheduler.end())


@pytest.mark.parametrize(
    "options",
    [
        ("--slice-us", "0"),
        ("--slice-us", "x"),
        ("--slice-us-min", "30000", "--slice-us", "20000"),
    ],
    ids=" ".join,
)
def test_a_bad_value_changes_nothing(options: tuple[str, ...]) -> None:
    """The message names it, and the kernel is not asked."""
    before = kernel_state("enable_seq")
    assert options[0] in _refused(*options)
    assert kernel_state("enable_seq") == before


def test_partial_leaves_the_default_class_alone(start: Start, record: Record) -> None:
    """Only tasks that asked for SCHED_EXT are forwarded."""
    scheduler = start("--partial", "--stats", "1")
    with undisturbed(scheduler):
        with Hogs(600, [0] * 4):
            time.sleep(scaled(10))
        without = sum(row["forward"] for row in scheduler.rows())
        # Two on one CPU: the second has to wait, so Python decides it.
        with Hogs(scaled(20), [0, 0], cpu=0, policy=SCHED_EXT_POLICY) as hogs:
            shares = hogs.shares()
    end = scheduler.end()
    record(without=without, uneven=shares.uneven, totals=dict(end.totals.counts))
    ended_well(end)
    assert without < 10
    assert end.totals["forwarded"] > 10 * max(without, 1)
    assert end.totals["user_dispatched"] > 0
    assert shares.uneven < 0.15
