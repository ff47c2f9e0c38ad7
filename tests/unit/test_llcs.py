# SPDX-License-Identifier: GPL-2.0-only
"""`deadline` with `llc=python`: which cache a decision names."""

from __future__ import annotations

from typing import Any

import pytest

from pyland.errors import UsageError
from pyland.policies.deadline import Deadline
from pyland.policies.llcs import COMPUTES_NS, TALKS_NS
from pyland.policy import CPU_ANY, Batch, domain_queue
from pyland.testing import OfflineMachine, make_topology

WAKER, TASK = 100, 101


def placed(*rows: tuple[int, int, int, int, int, int], busy: tuple[int, ...] = ()) -> list[int]:
    """What the decisions about these tasks name; hogs have these of eight CPUs of two caches."""
    one = OfflineMachine(make_topology(8, llcs=2, threads=2), Deadline, llc="python")
    for cpu in busy:
        one.wake(one.add(f"hog{cpu}", cpus=[cpu]))
    batch = Batch(Deadline.fields)
    batch.nr = len(rows)
    batch.view = lambda fields: list(rows)
    batch.rows = [(n + 1, row[0], row[1], 100, 0, row[3], 1) for n, row in enumerate(rows)]
    batch.nr_runnable, batch.weight_runnable = len(rows), 100 * len(rows)
    decided: Any = one.policy.decide(batch)
    return list(decided[2::7])


def test_a_task_that_talks_goes_to_its_wakers_cache() -> None:
    waker = (WAKER, 5, 8, 1000, 0, 1000)
    assert placed(waker, (TASK, 0, 8, 0, WAKER, TALKS_NS - 1)) == [CPU_ANY, domain_queue(1)]
    assert placed(waker, (TASK, 0, 8, 0, WAKER, TALKS_NS)) == [CPU_ANY, CPU_ANY]
    assert placed(waker, (TASK, 0, 1, 0, WAKER, 0)) == [CPU_ANY, CPU_ANY], "it has one CPU"
    assert placed((TASK, 0, 8, 0, WAKER, 0)) == [CPU_ANY], "its waker is not known"


def test_a_task_that_computes_goes_where_a_core_idles() -> None:
    hog = (TASK, 0, 8, COMPUTES_NS + 1, 0, COMPUTES_NS)
    assert placed(hog) == [domain_queue(0)]
    assert placed(hog, busy=(0, 2)) == [domain_queue(1)]
    assert placed(hog, busy=(0, 2, 4, 6)) == [domain_queue(0)]


def test_it_does_not_go_with_options_that_choose_otherwise() -> None:
    for other in ({"order": "python"}, {"percpu_local": True}):
        with pytest.raises(UsageError, match="llc=python needs order=kernel"):
            OfflineMachine(make_topology(4), Deadline, llc="python", **other)
