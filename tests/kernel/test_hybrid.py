# SPDX-License-Identifier: GPL-2.0-only
"""Where CPUs differ in speed, a task that computes gets a fast one as soon as one idles."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import psutil
import pytest

from tests.kernel.harness import Record, Start, ended_well, undisturbed
from tools.load import scheduler as system
from tools.load.programs import Hogs

pytestmark = pytest.mark.counted

CPUS = Path("/sys/devices/system/cpu")
# The lab's CPUs are alike. What pyland reads of them says otherwise, and only pyland sees it.
INSTEAD = ("unshare", "--mount", "sh", "-c", 'mount --bind "$0" "$1" && shift && exec "$@"')
READ = ("possible", "online", "nohz_full", "cpu*/topology/thread_siblings_list")
CACHES = ("cpu*/cache/index*/level", "cpu*/cache/index*/shared_cpu_list")


def _with_capacities(folder: Path, capacities: dict[int, int]) -> Path:
    """A copy of the files that pyland reads, with a capacity for each CPU."""
    for pattern in (*READ, *CACHES):
        for path in CPUS.glob(pattern):
            copy = folder / path.relative_to(CPUS)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
    for cpu, capacity in capacities.items():
        (folder / f"cpu{cpu}").mkdir(exist_ok=True)
        (folder / f"cpu{cpu}" / "cpu_capacity").write_text(f"{capacity}\n")
    return folder


def _on_the_fast_cpu(pid: int) -> float:
    """The part of 1.5 s that the task spends on CPU 1; other tasks may need it for a moment."""
    task, seen = psutil.Process(pid), []
    for _ in range(100):
        seen.append(task.cpu_num())
        time.sleep(0.015)
    return seen.count(1) / len(seen)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU here")
def test_a_task_that_computes_goes_to_the_fast_cpu(
    start: Start, record: Record, tmp_path: Path
) -> None:
    """A hog on the slow CPU moves when the fast one idles; two hogs use both."""
    fake = _with_capacities(tmp_path / "cpu", {0: 512, 1: 1024})
    scheduler = start(program=(*INSTEAD, fake, CPUS, system.PYLAND))
    with undisturbed(scheduler), Hogs(600, [0], cpu=0) as hogs:
        pid = hogs.pids[0]
        time.sleep(0.5)
        assert psutil.Process(pid).cpu_num() == 0
        os.sched_setaffinity(pid, {0, 1})
        time.sleep(0.2)
        moved = _on_the_fast_cpu(pid)
        with Hogs(600, [0]) as more:
            time.sleep(1)
            before = hogs.cpu_s()[pid], more.cpu_s()[more.pids[0]]
            time.sleep(1)
            after = hogs.cpu_s()[pid], more.cpu_s()[more.pids[0]]
        time.sleep(0.2)
        alone = _on_the_fast_cpu(pid)
    end = scheduler.end()
    shares = [second - first for first, second in zip(before, after, strict=True)]
    record(moved=moved, shares=shares, alone=alone)
    ended_well(end)
    assert min(moved, alone) > 0.9
    assert min(shares) > 0.8
