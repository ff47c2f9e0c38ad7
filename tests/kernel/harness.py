# SPDX-License-Identifier: GPL-2.0-only
"""Helpers of several kernel tests for a machine that pyland schedules."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Self

from pyland.supervisor import control
from tools.load.scheduler import End, Scheduler, Totals, compaction, enabled, kernel_state

# The fixtures `start` and `record`: a running pyland by options, and figures by name.
Start = Callable[..., Scheduler]
Record = Callable[..., None]

# The kernel's weights of nice 0 and 5 (sched_prio_to_weight).
WEIGHT_NICE_0 = 1024
WEIGHT_NICE_5 = 335

# No task may wait longer than this. A desktop needs far less, but the host of an emulated machine
# may not run it for a while; a stall takes 5 s and more.
GAP_S = 3.0


def scaled(full_s: float, at_least: float = 0) -> float:
    """A duration of the full run, shortened to PYLAND_TEST_SECONDS / 60 of it."""
    return max(full_s * float(os.environ.get("PYLAND_TEST_SECONDS", "15")) / 60, at_least)


@contextlib.contextmanager
def undisturbed(scheduler: Scheduler) -> Iterator[None]:
    """Asserts that pyland schedules during the whole block, without a restart."""
    assert enabled(), scheduler.about()
    before = kernel_state("enable_seq")
    yield
    assert scheduler.running, "pyland ended by itself"
    assert enabled(), f"the kernel's state is {kernel_state()}"
    assert kernel_state("enable_seq") == before, "pyland was loaded again"


def went_well(totals: Totals) -> None:
    """Assert that all decisions were right, and that nearly all found their tasks."""
    assert totals["bad_decisions"] == 0
    # A task that the fallback has just taken is in no queue until it runs; that is rare.
    assert totals["failed"] <= 10 + totals["forwarded"] * 0.02, f"{totals.counts}"


def ended_well(end: End) -> None:
    """Assert that pyland was stopped by the test, and that nothing went wrong before."""
    assert end.status == 0
    went_well(end.totals)


@contextlib.contextmanager
def counted(scheduler: Scheduler, *, right: bool = True) -> Iterator[Totals]:
    """The counters of the block, known after it.

    Asserts that pyland schedules during the block, and, if `right`, that its decisions are right.

    For tests that share a running pyland: a start takes longer than most loads.
    """
    counts: dict[str, int] = {}
    before = ask("status")["counters"]
    with undisturbed(scheduler):
        yield Totals("", counts)
    after = ask("status")["counters"]
    counts.update((name, value - before[name]) for name, value in after.items())
    if right:
        went_well(Totals("", counts))


def python_decided(totals: Totals) -> None:
    """Assert that Python, and not the fallback, ordered the tasks."""
    assert totals["forwarded"] > 100, "hardly anything was forwarded"
    assert totals.user_share > 0.95, f"{totals.counts}"


def grown(before: Mapping[str, int], after: Mapping[str, int]) -> bool:
    """True if the process has more memory than before; the kernel's counters are not exact."""
    return any(after[name] > value + 256 for name, value in before.items())


def ask(command: str, **values: object) -> dict[str, Any]:
    """The answer of the running pyland at its control socket; asserts that it is not an error."""
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
    """A new folder that all users can read and only root can write to."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


class Unchanged:
    """The settings that pyland changes, as they were before it started; true if they are so now."""

    def __init__(self) -> None:
        self._compaction = compaction()

    @classmethod
    def at(cls, value: str) -> Self:
        """The expected settings after the end of a pyland that runs already."""
        unchanged = cls()
        unchanged._compaction = value
        return unchanged

    def __bool__(self) -> bool:
        return compaction() == self._compaction
