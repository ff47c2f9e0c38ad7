# SPDX-License-Identifier: GPL-2.0-only
"""The file of a trace: cut off, on a full disk, and with the past that was kept in memory."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from pyland._native import ffi, lib
from tests.support import perfetto
from tests.support.trace_files import Writer
from tests.support.trace_rings import Rings


def _busy(rings: Rings, writer: Writer, turns: int, begin: int = 0) -> int:
    """Events of `turns` drains; the time after them."""
    now = begin
    for _ in range(turns):
        for i in range(10):
            now += 10_000
            rings.waking(0, now, 100 + i)
            rings.queue(0, now + 1, 100 + i, lib.PYLAND_TRACED_ASKED, question=now)
            rings.switch(1, now + 5_000, 50, 100 + i)
        if writer.drain(rings) < 0:
            break
    return now


def test_a_trace_that_is_cut_off_anywhere_can_be_read(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(), Rings(slots=1024)
    _busy(rings, writer, 20)
    whole = writer.end()
    data = writer.path.read_bytes()
    sizes = []
    for end in range(0, len(data), 97):
        part = perfetto.read(data[:end])
        assert part.ending is None
        sizes.append(len(part.events))
    assert sizes == sorted(sizes)
    assert sizes[-1] > 100
    assert whole.ending is not None
    assert whole.ending["ended because"] == "its time was over"


@pytest.mark.parametrize("room", [150_000, 263_000, 600_000])
def test_a_full_disk_ends_the_trace_with_a_reason(
    new_writer: Callable[..., Writer], room: int
) -> None:
    """The limit of a file's size takes the place of the disk: the write stops in the middle."""
    writer, rings = new_writer(), Rings(slots=1024)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        _busy(rings, writer, 5000)
        problem = ffi.string(lib.pyland_error()).decode()
        assert problem == "File too large"
        assert lib.pyland_trace_end(writer.c, problem.encode()) < 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    trace = writer.read()
    assert trace.ending is not None
    assert trace.ending["ended because"] == "File too large"
    # The event of a wakeup is about 110 bytes, and few are in the columns without it.
    assert len(trace.named("asks deadline")) > room / 400
    assert room - 100_000 < writer.totals.bytes == writer.path.stat().st_size


def test_a_device_that_is_full(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(Path("/dev/full")), Rings(slots=1024)
    _busy(rings, writer, 1)
    assert lib.pyland_trace_end(writer.c, b"its time was over") < 0
    assert ffi.string(lib.pyland_error()) == b"No space left on device"
    assert writer.totals.bytes == 0


def test_the_past_is_kept_in_bounds_and_written_when_asked_for(
    new_writer: Callable[..., Writer],
) -> None:
    memory = 256 * 1024
    writer, rings = new_writer(memory=memory), Rings(slots=1024)
    now = _busy(rings, writer, 2000)
    lib.pyland_trace_counter(writer.c, b"tasks", b"tasks", now, 1)
    assert writer.path.stat().st_size == 0
    assert writer.totals.dropped > memory
    assert lib.pyland_trace_write_past(writer.c) == 0
    assert memory / 2 < writer.path.stat().st_size < 2 * memory
    after = _busy(rings, writer, 3, begin=now)
    trace = writer.end()
    assert trace.switches[-1].time_ns > now
    assert trace.switches[-1].time_ns <= after + 5_000
    gaps = [b.time_ns - a.time_ns for a, b in zip(trace.switches, trace.switches[1:], strict=False)]
    assert set(gaps) == {10_000}, "the past has a hole"
    assert trace.counters["tasks"] == [(now, 1)]


def test_the_past_is_not_written_without_being_asked_for(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(memory=1 << 20), Rings(slots=1024)
    _busy(rings, writer, 10)
    assert lib.pyland_trace_end(writer.c, b"the user ended it") == 0
    assert writer.path.stat().st_size == 0
