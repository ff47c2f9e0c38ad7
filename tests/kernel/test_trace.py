# SPDX-License-Identifier: GPL-2.0-only
"""`pyland trace` beside a running pyland: what it shows is what happened, and it ends well."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.kernel.canary import bpf_objects
from tests.kernel.harness import Record, Start, ended_well, swap, undisturbed
from tests.support import perfetto
from tools.load.command import Command, available
from tools.load.programs import Game, Hogs, Sleeper
from tools.load.scheduler import PYLAND, until

HARD_INTERRUPT = 0x08  # as ftrace has it
TRACED_S = float(os.environ.get("PYLAND_TRACED_S", "1"))
"""How long the trace of a load takes. 10 on a machine of its own: an emulated one needs minutes to
read a trace of hackbench."""
KEPT = os.environ.get("PYLAND_KEEP_TRACE", "")
"""Where that trace is to be kept, with the kernel's number of switches, and is not read here."""
SETTLED_NS = 300_000_000
"""A decision so shortly before the end of the trace may have no run in it."""


@dataclass(frozen=True)
class Sample:
    """How often the kernel has switched, and when that was."""

    time_ns: int
    switches: int

    @classmethod
    def take(cls) -> Sample:
        stat = Path("/proc/stat").read_text(encoding="ascii")
        now_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        (line,) = (line for line in stat.splitlines() if line.startswith("ctxt "))
        return cls(now_ns, int(line.split()[1]))


@contextmanager
def tracing(*words: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A trace that has begun, and the line that says so."""
    with subprocess.Popen([PYLAND, "trace", *words], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            yield process, process.stderr.readline()
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and the rest of its lines."""
    _, told = process.communicate(timeout=120)
    return process.returncode, told


def refused(*words: str | Path) -> str:
    """The one line of a trace that does not begin."""
    done = subprocess.run(
        [PYLAND, "trace", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    return line


def assert_flows_are_complete(trace: perfetto.Trace) -> int:
    """Each decision has its question, and each queued task its run; how many decisions."""
    # Switches are seen before questions are: one program is attached after the other.
    begin_ns = min(event.time_ns for flow in trace.flows.values() for event in flow)
    end_ns = trace.switches[-1].time_ns
    without_question, without_run, decisions = [], [], 0
    for flow in trace.flows.values():
        kinds = [event.name.removeprefix("deadline ").removeprefix("fifo ") for event in flow]
        decided = next((e for e in flow if "decides" in e.name or "late" in e.name), None)
        if decided is None:
            continue
        decisions += 1
        # Another CPU may carry the decision out before this one has noted its question.
        asked = any(kind.startswith(("asks", "held for")) for kind in kinds)
        if not asked and decided.time_ns > begin_ns + SETTLED_NS:
            without_question.append(flow)
        if kinds[-1] == "decides" and decided.time_ns < end_ns - SETTLED_NS:
            without_run.append(flow)
        if kinds[-1] == "runs as decided":
            run = flow[-1]
            assert any(
                s.pid == run.says["tid"] and s.time_ns == run.time_ns for s in trace.switches
            )
    first = [[(e.time_ns - begin_ns, e.name) for e in flow] for flow in without_question[:3]]
    assert not without_question, f"{len(without_question)} of {decisions}: {first}"
    # A change of its nice value or CPUs takes a queued task out of its queue.
    assert len(without_run) <= decisions * 0.01, without_run
    return decisions


def under_load(path: Path, record: Record) -> None:
    """Messages between many processes, and a game: nothing is lost, and all is in the trace."""
    messages = Command("hackbench", "-P", "-g", "1", "-l", "100000")
    with (
        Game(TRACED_S + 20) as game,
        messages if available("hackbench") else Hogs(200, [0] * 4),
        tracing("-o", path, "--seconds", str(TRACED_S), "--ring", "64M") as (process, _),
    ):
        first = Sample.take()
        time.sleep(TRACED_S * 0.8)
        last = Sample.take()
        code, told = ended(process)
        game.frames(early=True)
    assert code == 0, told
    assert "nothing was lost" in told
    if KEPT:
        shutil.copy(path, KEPT)
        Path(f"{KEPT}.txt").write_text(f"{first}\n{last}\n{told}\n", encoding="utf-8")
        return
    trace = perfetto.read(path.read_bytes())
    switches = sum(first.time_ns <= s.time_ns < last.time_ns for s in trace.switches)
    counted = last.switches - first.switches
    decisions = assert_flows_are_complete(trace)
    record(loaded=told.strip(), loaded_switches=switches, loaded_counted=counted)
    assert abs(switches - counted) <= counted * 0.01 + 2
    assert decisions > 10


@pytest.mark.counted
@pytest.mark.long
def test_a_trace_shows_what_happened(start: Start, tmp_path: Path, record: Record) -> None:
    """One start for all: a whole trace with a swap, a killed one, a full disk, a condition."""
    path = tmp_path / "a.pftrace"
    assert "pyland does not run here" in refused("-o", path)
    assert not path.exists()
    scheduler = start()
    with undisturbed(scheduler), Hogs(200, [0] * 4) as hogs, Sleeper(200) as sleeper:
        objects = bpf_objects()
        with tracing("-o", path) as (process, line):
            assert "tracing to" in line
            first = Sample.take()
            time.sleep(2.5)
            last = Sample.take()
            swap(policy="fifo")
            time.sleep(1)
            process.send_signal(signal.SIGINT)
            code, told = ended(process)
        assert code == 0, told
        assert "nothing was lost" in told
        trace = perfetto.read(path.read_bytes())
        switches = sum(first.time_ns <= s.time_ns < last.time_ns for s in trace.switches)
        counted = last.switches - first.switches
        decisions = assert_flows_are_complete(trace)
        record(switches=switches, counted=counted, decisions=decisions, names=dict(trace.names))
        record(bytes=path.stat().st_size, events=len(trace.switches) + len(trace.wakings))
        assert abs(switches - counted) <= counted * 0.01 + 2
        assert decisions > 100
        assert trace.named("deadline decides")
        assert trace.named("fifo decides")
        decided = trace.named("deadline decides")[0]
        assert {"task", "tid", "queue", "why", "key_ns", "slice_ns"} <= decided.says.keys()
        assert {trace.threads[pid] for pid in hogs.pids} == {"hogs"}
        # The sleeper is woken up by its timer, mostly in an interrupt, and then runs.
        wakings = [w for w in trace.wakings if w.pid == sleeper.pid]
        in_interrupt = [w for w in wakings if w.bits == HARD_INTERRUPT]
        record(wakings=len(wakings), in_interrupt=len(in_interrupt))
        waking = in_interrupt[0]
        assert any(s.pid == sleeper.pid and s.time_ns > waking.time_ns for s in trace.switches)
        for one, two in itertools.pairwise(s for s in trace.switches if s.cpu == 0):
            assert one.time_ns < two.time_ns
        assert max(value for _, value in trace.counters["decided"]) > 10
        assert max(value for _, value in trace.counters["queue: domain 0"]) >= 1
        assert trace.ending is not None
        assert trace.ending["ended because"] == "the user ended it"
        under_load(path, record)

        with tracing("-o", path) as (process, _):
            assert until(lambda: path.stat().st_size > 10_000, 60) is not None
            process.kill()
            process.wait()
        cut = perfetto.read(path.read_bytes())
        assert cut.switches
        assert cut.ending is None

        with tracing("-o", "/dev/full") as (process, _):
            code, told = ended(process)
        assert code == 1
        assert "/dev/full: No space left on device: the trace ends early" in told
        assert "Is a directory" in refused("-o", tmp_path)

        with tracing("-o", path, "--when", "max>100us", "--seconds", "1", "--ring", "1M") as (
            process,
            line,
        ):
            assert "waiting for max>100us" in line
            code, told = ended(process)
        assert code == 0
        assert "max>100us: it is" in told
        assert perfetto.read(path.read_bytes()).ending is not None
        gone = until(lambda: bpf_objects() == objects, 10)
        assert gone is not None, f"{objects} before, {bpf_objects()} after"
    ended_well(scheduler.end())
