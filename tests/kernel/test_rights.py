# SPDX-License-Identifier: GPL-2.0-only
"""At every moment that policy code runs, it runs without rights: seen by a tracer from outside."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.kernel.harness import Record, ask, folder_for_policies, swap
from tests.support.watcher import CALLERS, Watcher
from tools.load.programs import Hogs
from tools.load.scheduler import Scheduler, kernel_state, until

pytestmark = [pytest.mark.counted, pytest.mark.long]

PHASES = Path(__file__).with_name("phases.py")
CPU = Path("/sys/devices/system/cpu/cpu1/online")
ROUNDS = 5
"""Each has three swaps and two restarts, so that both callers together see 50."""


def _phases(**times: int) -> Counter[str]:
    """So many looks at a phase; a thread and a child stop in each but the finalizer."""
    looks: Counter[str] = Counter()
    for name, nr in times.items():
        looks[name] = nr
        if name != "finalizer":
            looks[f"{name}-thread"] = looks[f"{name}-child"] = nr
    return looks


# Each start and swap begins with a trial, in a process that then ends.
TRIAL = _phases(**{"import": 1, "constructor": 1, "finalizer": 1})
# The warm-up has a policy of its own.
WARM_UP = _phases(constructor=1, enqueue=1, finalizer=1)
START = TRIAL + _phases(**{"import": 1, "constructor": 1, "enqueue": 1}) + WARM_UP
# The finalizer is that of the policy before.
SWAP = TRIAL + _phases(**{"import": 1, "constructor": 1, "enqueue": 1, "finalizer": 1})
RESTART = _phases(constructor=1, enqueue=1, finalizer=1) + WARM_UP


@pytest.mark.parametrize("caller", CALLERS)
def test_a_tracer_sees_no_right_in_any_phase(caller: str, record: Record) -> None:
    """Import, constructor, warm-up, decisions and finalizers, each also in a thread and a child.

    The policy waits in each of them until it was looked at. The numbers of looks are exact, so no
    phase of a start, a swap, a reload or a restart went by without one.
    """
    with folder_for_policies() as folder:
        shutil.copy(PHASES, folder)
        (book := folder / "looks").touch()
        book.chmod(0o666)
        policy = f"{folder}/{PHASES.name}:Phases"
        scheduler = Scheduler("--allow-processes", "--policy", policy, program=CALLERS[caller])
        with Watcher(scheduler.pid, book) as watcher, scheduler:
            expected = Counter(START)

            def looked_at() -> None:
                # Tasks that find no idle CPU, so that the policy is asked.
                with Hogs(600, [0] * 3):
                    ready = until(lambda: watcher.phases >= expected, 60, step_s=0.05) is not None
                assert ready, f"{expected - watcher.phases} lack\n{scheduler.about()}"

            looked_at()
            worker = ask("status")["process"]["pid"]
            for _ in range(ROUNDS):
                for values in ({"policy": policy}, {"reload": True}, {"policy": policy}):
                    assert swap(**values)["policy"] == "phases"
                    expected += SWAP
                    looked_at()
                for value in ("0", "1"):
                    starts = scheduler.starts
                    CPU.write_text(value)
                    scheduler.wait_enabled(starts + 1)
                    expected += RESTART
                    looked_at()
            status = ask("status")
            assert (status["policy"], status["process"]["pid"]) == ("phases", worker)
            end = scheduler.end()
        written = watcher.written()
    record(looks=sum(watcher.phases.values()), threads=len(watcher.looked_at))
    record(swaps=end.totals["swaps"], restarts=end.totals["restarts"])
    assert not watcher.wrong, watcher.wrong[0]
    assert watcher.phases == expected
    assert written == watcher.phases
    assert (end.totals["swaps"], end.totals["restarts"]) == (3 * ROUNDS, 2 * ROUNDS)
    assert end.status == 0
    assert kernel_state() == "disabled"
