# SPDX-License-Identifier: GPL-2.0-only
"""The writer of traces: what comes out of its file is what went into the rings."""

from __future__ import annotations

import os
from collections.abc import Callable

from pyland._native import lib
from tests.support import perfetto
from tests.support.trace_files import ALL, MS, Writer
from tests.support.trace_rings import SLEEPS, Rings, new_task

DOMAIN_0 = 1 << 22


def test_switches_and_wakeups(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(), Rings()
    for pid, comm in ((5, b"five"), (6, b"six")):
        lib.pyland_trace_task(writer.c, new_task(pid, comm))
    rings.switch(0, 10 * MS, 0, 5)
    rings.waking(0, 11 * MS, 6, target=1, context=0x08)
    rings.switch(1, 12 * MS, 0, 6, priority=110)
    rings.switch(0, 13 * MS, 5, 0, SLEEPS)
    rings.switch(1, 14 * MS, 6, 0, 0x402)
    assert writer.drain(rings) >= 0
    trace = writer.end()
    seen = [(s.time_ns // MS, s.cpu, s.prev_state, s.pid, s.name) for s in trace.switches]
    assert seen == [
        (10, 0, 0, 5, "five"),
        (12, 1, 0, 6, "six"),
        (13, 0, 1, 0, "swapper"),
        (14, 1, 0x80, 0, "swapper"),
    ]
    assert trace.switches[1].priority == 110
    assert trace.wakings == [perfetto.Waking(11 * MS, 0, 6, 1, "six", 0x08)]
    assert trace.new_tasks == {5: "five", 6: "six"}
    assert trace.release
    assert trace.processes[1]
    assert "scxtop_topo:{}" in trace.tracks.values()


def test_a_flow_leads_from_the_question_to_the_run(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(), Rings()
    lib.pyland_trace_task(writer.c, new_task(5, b"five"))
    rings.waking(1, 9 * MS, 5)
    rings.queue(1, 10 * MS, 5, lib.PYLAND_TRACED_ASKED, question=7, queue=DOMAIN_0)
    rings.queue(
        *(0, 12 * MS, 5, lib.PYLAND_TRACED_DECIDED),
        question=7, key_ns=99, slice_ns=3 * MS, queue=DOMAIN_0,
    )  # fmt: skip
    rings.switch(0, 13 * MS, 0, 5)
    rings.switch(0, 14 * MS, 5, 0, SLEEPS)
    rings.switch(0, 15 * MS, 0, 5)  # not by that decision
    writer.drain(rings)
    trace = writer.end()
    ((question, decision, run),) = trace.flows.values()
    assert question.name == "asks deadline"
    assert question.track == perfetto.CPU_TRACKS + 1
    assert question.says["why"] == "it woke up"
    assert (decision.name, decision.time_ns) == ("deadline decides", 12 * MS)
    assert decision.says == {
        "task": "five",
        "tid": 5,
        "queue": "domain 0",
        "why": "it woke up",
        "key_ns": 99,
        "slice_ns": 3 * MS,
        "asked_before_ns": 2 * MS,
    }
    assert (run.name, run.time_ns, run.flow_ends) == ("runs as decided", 13 * MS, True)
    assert writer.totals.decisions == writer.totals.questions == 1


def test_late_and_amended_decisions_end_their_flows(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(), Rings()
    rings.queue(0, 10 * MS, 5, lib.PYLAND_TRACED_HELD, question=1)
    rings.switch(0, 11 * MS, 0, 5)
    rings.queue(0, 12 * MS, 5, lib.PYLAND_TRACED_AMENDED, question=1)
    rings.switch(0, 13 * MS, 5, 0)
    rings.queue(0, 14 * MS, 5, lib.PYLAND_TRACED_ASKED, question=2)
    rings.queue(0, 15 * MS, 5, lib.PYLAND_TRACED_ASKED, question=2)
    rings.queue(0, 16 * MS, 5, lib.PYLAND_TRACED_LATE, question=2)
    rings.queue(0, 17 * MS, 5, lib.PYLAND_TRACED_CONTINUED)
    writer.drain(rings)
    trace = writer.end()
    assert [[event.name for event in flow] for flow in trace.flows.values()] == [
        ["held for deadline", "deadline decides for this turn"],
        ["asks deadline", "deadline is late"],
    ]
    assert all(flow[-1].flow_ends for flow in trace.flows.values())
    assert trace.names["runs undecided"] == 1
    assert trace.names["queued with an open question"] == 1
    assert trace.names["continues its slice"] == 1


def test_events_of_cpus_are_taken_in_the_order_of_their_times(
    new_writer: Callable[..., Writer],
) -> None:
    """A decision on one CPU and a run on another: the later drain has what is not settled."""
    writer, rings = new_writer(nr_cpus=5), Rings(nr_cpus=5)
    for i in range(20):
        base = i * 10
        rings.queue(i % 5, (base + 1) * MS, 5, lib.PYLAND_TRACED_ASKED, question=i + 1)
        rings.queue((i + 1) % 5, (base + 2) * MS, 5, lib.PYLAND_TRACED_DECIDED, question=i + 1)
        rings.switch((i + 2) % 5, (base + 3) * MS, 0, 5)
        rings.switch((i + 2) % 5, (base + 4) * MS, 5, 0, SLEEPS)
        writer.drain(rings, (base + 2) * MS if i % 2 else ALL)
    writer.drain(rings)
    trace = writer.end()
    assert {len(flow) for flow in trace.flows.values()} == {3}
    assert len(trace.flows) == 20
    assert len(trace.switches) == 40


def test_a_ring_wraps_and_loses_what_has_no_room(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(), Rings(slots=16)
    written = 0
    for i in range(100):
        written += rings.switch(1, i + 1, i, i + 1)
        if i % 20 == 19:
            writer.drain(rings)
    writer.drain(rings)
    trace = writer.end()
    assert written == 80
    assert len(trace.switches) == 80
    assert writer.totals.lost == 20
    assert trace.lost == {0: 0, 1: 20}
    assert trace.cpus_with_losses == {1}
    assert trace.ending is not None
    assert trace.ending["events lost"] == 20


def test_names_of_tasks_are_printable(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(), Rings()
    lib.pyland_trace_task(writer.c, new_task(5, b"\x1b[2J\xff\n"))
    rings.switch(0, 1 * MS, 0, 5)
    writer.drain(rings)
    lib.pyland_trace_task(writer.c, new_task(5, b"other", renamed=True))
    rings.switch(0, 2 * MS, 0, 5)
    writer.drain(rings)
    trace = writer.end()
    assert [s.name for s in trace.switches] == ["\\x1b[2J\\xff\\x0a", "other"]
    assert trace.renamed == {5: "other"}


def test_counters_have_the_values_that_changed(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(), Rings()
    rings.switch(0, 1, 0, 5)
    writer.drain(rings)
    for time_ns, value in ((1, 3), (2, 3), (3, -4)):
        lib.pyland_trace_counter(writer.c, b"queue: CPU 0", b"tasks", time_ns, value)
    assert writer.end().counters == {"queue: CPU 0": [(1, 3), (3, -4)]}


def test_what_the_policy_says_of_itself(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(), Rings()
    lib.pyland_trace_task(writer.c, new_task(5, b"five"))
    rings.switch(0, 1 * MS, 0, 5)
    writer.drain(rings)
    for time_ns, value in ((2, 2.5), (3, 2.5), (4, -1e300)):
        lib.pyland_trace_gauge(writer.c, b"policy: waiting", b"", time_ns, value)
    assert lib.pyland_trace_note(writer.c, 3 * MS, 5, b"\\x1bgame") == 0
    assert lib.pyland_trace_note(writer.c, 3 * MS, -5, b"no task") == 0
    assert lib.pyland_trace_note(writer.c, 3 * MS, 5, b"x" * 513) == 0
    trace = writer.end()
    assert trace.counters == {"policy: waiting": [(2, 2.5), (4, -1e300)]}
    (note,) = trace.named("the policy notes")
    assert note.says == {"task": "five", "tid": 5, "note": "\\x1bgame"}
    assert (note.time_ns, trace.tracks[note.track]) == (3 * MS, "notes of the policy")


def test_notes_without_end_leave_room_for_names(new_writer: Callable[..., Writer]) -> None:
    """A hostile policy may note a new text each time; there is room for 65,536 names."""
    writer, rings = new_writer(), Rings()
    rings.switch(0, 1 * MS, 0, 5)
    writer.drain(rings)
    for number in range(70_000):
        lib.pyland_trace_note(writer.c, 2 * MS, 5, b"%d" % number)
    lib.pyland_trace_task(writer.c, new_task(6, b"named", time_ns=3 * MS))
    rings.switch(0, 4 * MS, 5, 6)
    writer.drain(rings)
    trace = writer.end()
    assert trace.names["the policy notes"] == 70_000
    assert trace.switches[-1].name == "named"


def test_a_process_has_its_command(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(), Rings()
    me = os.getpid()
    lib.pyland_trace_command(writer.c, me, b"/bin/\x1bprogram")
    rings.switch(0, 1 * MS, 0, me)
    writer.drain(rings)
    trace = writer.end()
    assert trace.processes[me] == "/bin/\\x1bprogram"
    assert trace.processes[1]


def test_latencies_of_the_last_second(new_writer: Callable[..., Writer]) -> None:
    writer, rings = new_writer(), Rings(slots=1024)
    assert lib.pyland_trace_latency(writer.c, 0.99) == 0
    for i in range(100):
        begin = i * 5 * MS
        rings.waking(0, begin, 5)
        rings.switch(1, begin + (1 + i) * 10_000, 0, 5)
        rings.switch(1, begin + 4 * MS, 5, 0, SLEEPS)
        writer.drain(rings)
    for share, wanted_ns in ((0.5, 510_000), (0.9, 910_000), (0.99, 1_000_000), (1.0, 1_000_000)):
        found = lib.pyland_trace_latency(writer.c, share)
        assert wanted_ns * 0.96 <= found <= wanted_ns, share
    # Later, only what is recent counts.
    rings.waking(0, 5000 * MS, 5)
    rings.switch(1, 5000 * MS + 200, 0, 5)
    writer.drain(rings)
    assert lib.pyland_trace_latency(writer.c, 1.0) <= 200


def test_a_task_that_does_not_wait_has_no_latency(new_writer: Callable[..., Writer]) -> None:
    """It is woken up while it still runs, on its way to sleep."""
    writer, rings = new_writer(), Rings()
    rings.switch(0, 1 * MS, 0, 5)
    rings.waking(1, 2 * MS, 5)
    rings.switch(0, 3 * MS, 5, 6)
    rings.switch(0, 900 * MS, 6, 5)
    writer.drain(rings)
    assert lib.pyland_trace_latency(writer.c, 1.0) == 0
