# SPDX-License-Identifier: GPL-2.0-only
"""What several of the kernel tests ask of a machine that pyland schedules."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pyland.kernel import control
from tools.load.scheduler import End, Scheduler, compaction, enabled, kernel_state

# What the fixtures `start` and `record` are: a running pyland by options, figures by name.
Start = Callable[..., Scheduler]
Record = Callable[..., None]

# The kernel's weights of nice 0 and 5 (sched_prio_to_weight).
WEIGHT_NICE_0 = 1024
WEIGHT_NICE_5 = 335

# Nobody waits longer than this, whatever happens. Far from what a desktop wants, but the machine
# that emulates this one may not run it for a while; a stall is 5 s and more.
GAP_S = 3.0


def scaled(full_s: float, at_least: float = 0) -> float:
    """A duration of the full run, shortened as PYLAND_TEST_SECONDS wants it (60 is full)."""
    return max(full_s * float(os.environ.get("PYLAND_TEST_SECONDS", "30")) / 60, at_least)


@contextlib.contextmanager
def undisturbed(scheduler: Scheduler) -> Iterator[None]:
    """From start to end of the block pyland schedules, and was not restarted in between."""
    assert enabled(), scheduler.about()
    before = kernel_state("enable_seq")
    yield
    assert scheduler.running, "pyland ended by itself"
    assert enabled(), f"the kernel's state is {kernel_state()}"
    assert kernel_state("enable_seq") == before, "pyland was loaded again"


def ended_well(end: End) -> None:
    """It was stopped, and nothing went wrong before."""
    assert end.status == 0
    totals = end.totals
    assert totals["bad_decisions"] == 0
    # A task that the fallback has just taken is in no queue until it runs: some, but few.
    assert totals["failed"] <= 10 + totals["forwarded"] * 0.02, f"{totals.counts}"


def python_decided(end: End) -> None:
    """Python, and not the fallback, ordered the tasks."""
    totals = end.totals
    assert totals["forwarded"] > 100, "hardly anything was forwarded"
    assert totals.user_share > 0.95, f"{totals.counts}"


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    """Whether the process has more memory than before; its counters are batched, so not exact."""
    return any(after[name] > value + 256 for name, value in before.items())


def ask(command: str, **values: object) -> dict[str, Any]:
    """What the running pyland answers at its control socket; it must be a yes."""
    answer = control.ask({"command": command, **values}, timeout_s=60)
    assert answer["ok"], answer["error"]
    found = answer.get("status", answer)
    assert isinstance(found, dict)
    return found


def swap(**values: object) -> dict[str, Any]:
    """Swap the policy, as `pyland swap` does."""
    if "policy" in values:
        values = {"options": [], "folder": os.getcwd(), **values}
    return ask("swap", **values)


@contextlib.contextmanager
def folder_for_policies() -> Iterator[Path]:
    """A new folder that everybody can read and only root can write to."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


class Unchanged:
    """The settings of the machine that pyland changes, as they were before it started."""

    def __init__(self) -> None:
        self._compaction = compaction()

    @classmethod
    def at(cls, value: str) -> Self:
        """As they should be in the end, for a pyland that runs already."""
        unchanged = cls()
        unchanged._compaction = value
        return unchanged

    def __bool__(self) -> bool:
        return compaction() == self._compaction
