# SPDX-License-Identifier: GPL-2.0-only
"""What a trace sees of the kernel, on this machine's own scheduler: hackbench beside a game."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyland import _native
from pyland._native import ffi, lib
from pyland.topology import read_topology
from tests.support import perfetto, trace_processor
from tools.load.command import Command, available
from tools.load.programs import Game
from tools.rings.harness import Rings

SECONDS = float(os.environ.get("PYLAND_TRACED_S", "2"))
SLOTS = 1 << 20


class Traced:
    """A trace of the kernel without a pyland, as `Recorder` has it."""

    def __init__(self, path: Path) -> None:
        self._program = Path(_native.__file__).with_name("trace.bpf.o").read_bytes()
        nr_cpus = read_topology().nr_cpu_ids
        self._file = os.open(path, os.O_RDWR | os.O_CREAT)
        self.source: Any = lib.pyland_trace_attach(
            ffi.from_buffer(self._program), len(self._program), nr_cpus, SLOTS
        )
        assert self.source, ffi.string(lib.pyland_error())
        self.writer: Any = lib.pyland_trace_writer(self._file, nr_cpus, 0, ffi.NULL)

    def collect(self, seconds: float) -> None:
        """Write what happens in this time."""
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s:
            assert lib.pyland_trace_collect(self.source, self.writer, 0) >= 0
            time.sleep(0.02)

    def end(self) -> Any:
        """The totals."""
        assert lib.pyland_trace_collect(self.source, self.writer, 1) >= 0
        assert lib.pyland_trace_end(self.writer, b"its time was over") == 0
        return lib.pyland_trace_totals(self.writer)

    def close(self) -> None:
        lib.pyland_trace_detach(self.source)
        lib.pyland_trace_close(self.writer)
        os.close(self._file)


def _switched() -> tuple[int, int]:
    """The time, and how often the kernel has switched."""
    stat = Path("/proc/stat").read_text(encoding="ascii")
    now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return now_ns, int(next(one for one in stat.splitlines() if one.startswith("ctxt ")).split()[1])


@pytest.fixture
def traced(rings: Rings, tmp_path: Path) -> Iterator[tuple[Traced, Path]]:
    """`rings` skips where no BPF program can be loaded."""
    path = tmp_path / "a.pftrace"
    found = Traced(path)
    yield found, path
    found.close()


@pytest.mark.skipif(not available("hackbench"), reason="no hackbench here")
def test_the_trace_has_the_switches_that_the_kernel_counts(
    traced: tuple[Traced, Path], record_property: Any
) -> None:
    trace, path = traced
    with (
        Game(SECONDS + 20) as game,
        Command("hackbench", "-P", "-g", "1", "-l", "1000000"),
    ):
        trace.collect(0.3)
        first = _switched()
        trace.collect(SECONDS)
        last = _switched()
        trace.collect(0.3)
        totals = trace.end()
        game.frames(early=True)
    assert totals.lost == totals.tasks_lost == 0
    found = perfetto.read(path.read_bytes())
    switches = sum(first[0] <= one.time_ns < last[0] for one in found.switches)
    counted = last[1] - first[1]
    record_property("switches", switches)
    record_property("counted", counted)
    assert counted > 1000
    assert abs(switches - counted) <= counted * 0.01 + 2
    if trace_processor.folder() is None:
        return
    errors, rows = trace_processor.query(
        path.read_bytes(),
        "select name, value from stats where value > 0 and severity in ('error', 'data_loss')",
        "select count(*) as n, count(distinct utid) as tasks from sched "
        f"where ts >= {first[0]} and ts < {last[0]}",
    )
    assert errors == []
    assert abs(rows[0]["n"] - counted) <= counted * 0.01 + 2
    assert rows[0]["tasks"] > 40, "the processes of hackbench, and the threads of the game"
