# SPDX-License-Identifier: GPL-2.0-only
"""Records a trace of the running pyland: this is root's command beside it, and no part of it.

The process has a real-time priority: it must see also what happens while tasks wait for pyland. It
wakes up twenty times a second, or more often if a ring fills.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyland import _native
from pyland._native import ffi, lib
from pyland.errors import ScheduleError, UsageError
from pyland.host.checks import SCHED_EXT
from pyland.output.printing import escape
from pyland.supervisor.asking import ask
from pyland.topology import Topology, read_topology
from pyland.trace.commands import read_commands
from pyland.trace.options import Options
from pyland.trace.output import Output
from pyland.trace.own import OwnNumbers

_OBJECT = Path(_native.__file__).with_name("trace.bpf.o")
_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_AFTER_S = 5.0
"""How long a trace goes on after its condition was met."""
_PAUSE_S = 0.05
_SHORTEST_PAUSE_S = 0.005
_LOOK_S = 0.5
"""Seconds between two looks at which pyland and which policy runs."""
_PRIORITY = 1
_POLICY_NAME_MAX = 40


@dataclass
class _Seen:
    """Which pyland the trace sees, and which policy."""

    loads: tuple[str, ...] = ()
    generation: int = -1
    look_s: float = 0


class Recorder:
    """One trace, from the options to the end of the file."""

    def __init__(self, options: Options, tell: Callable[[str], None]) -> None:
        """Open the file, and see the kernel and pyland; raises UsageError."""
        self._options = options
        self._tell = tell
        self._source: Any = ffi.NULL
        self._writer: Any = ffi.NULL
        self._seen = _Seen()
        self._own = OwnNumbers(options.stats_path)
        if not _pyland_schedules():
            raise UsageError("pyland does not run here: start it first")
        topology = read_topology()
        slots = options.slots(topology.nr_cpu_ids)
        self._output = Output(options.file)
        try:
            self._begin(topology, slots)
        except BaseException:
            self._close()
            raise

    def _begin(self, topology: Topology, slots: int) -> None:
        # Before the rings begin to fill: it may take two seconds.
        commands = read_commands()
        program = _OBJECT.read_bytes()
        self._program = ffi.from_buffer(program)
        memory = self._options.ring_bytes if self._options.when else 0
        self._source = lib.pyland_trace_attach(
            self._program, len(program), topology.nr_cpu_ids, slots
        )
        if not self._source:
            raise UsageError(_error())
        self._writer = lib.pyland_trace_writer(
            self._output.fd, topology.nr_cpu_ids, memory, _as_scxtop_wants(topology).encode()
        )
        if not self._writer:
            raise UsageError(_error())
        for pid, command in commands.items():
            lib.pyland_trace_command(self._writer, pid, command)
        self._seen.loads = _loads()
        if lib.pyland_trace_hook(self._source) < 0:
            raise UsageError(_error())
        self._note_policy()
        if self._options.when is None:
            self._output.begin()

    def run(self) -> None:
        """Record until the end; raises ScheduleError if the file takes no more."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
        with suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(_PRIORITY))
        options = self._options
        waits = options.when is not None
        length_s = options.seconds if options.seconds or not waits else _AFTER_S
        until_s = time.monotonic() + length_s if length_s and not waits else None
        if options.when:
            self._tell(f"pyland: waiting for {options.when.text} (Ctrl-C ends it)")
        else:
            self._tell(f"pyland: tracing to {escape(options.file)} (Ctrl-C ends it)")
        pause_s, why = _PAUSE_S, ""
        try:
            while not why:
                if until_s is not None:
                    pause_s = min(pause_s, max(until_s - time.monotonic(), 0))
                if signal.sigtimedwait(_ENDS, pause_s):
                    why = "the user ended it"
                elif until_s is not None and time.monotonic() >= until_s:
                    why = "its time was over"
                filled = self._collect(last=bool(why))
                pause_s = _next_pause(pause_s, filled)
                self._look()
                self._write_own()
                if waits and options.when and not why:
                    latency_ns = lib.pyland_trace_latency(self._writer, options.when.share)
                    if latency_ns > options.when.limit_ns:
                        waits = False
                        self._begin_writing(latency_ns)
                        until_s = time.monotonic() + (length_s or _AFTER_S)
            self._end(why, waits)
        finally:
            self._close()

    def _collect(self, *, last: bool) -> int:
        """How full the fullest ring was, in percent."""
        filled = int(lib.pyland_trace_collect(self._source, self._writer, last))
        if filled < 0:
            self._fail()
        return filled

    def _look(self) -> None:
        """Notice another pyland, and another policy."""
        seen, now_s = self._seen, time.monotonic()
        if now_s < seen.look_s:
            return
        seen.look_s = now_s + _LOOK_S
        if (loads := _loads()) != seen.loads:
            seen.loads = loads
            self._hook_again()
        self._note_policy()

    def _write_own(self) -> None:
        """Write the policy's own numbers and notes, if there are new ones."""
        found = self._own.look()
        if found is None:
            return
        for values, unit in ((found.gauges, b""), (found.rates, b"/s")):
            for name, value in values.items():
                text = f"policy: {name}".encode("ascii", "backslashreplace")
                lib.pyland_trace_gauge(self._writer, text, unit, found.time_ns, value)
        for note in found.notes:
            if lib.pyland_trace_note(self._writer, note.time_ns, note.pid, note.text) < 0:
                self._fail()

    def _hook_again(self) -> None:
        """The kernel has loaded a scheduler, or ended one."""
        was_seen = self._seen.generation >= 0
        self._seen.generation = -1
        lib.pyland_trace_unhook(self._source)
        if not _pyland_schedules():
            if was_seen:
                self._tell("pyland: it has ended: its decisions are missing until it runs again")
        elif lib.pyland_trace_hook(self._source) < 0:
            self._tell(f"pyland: {_error()}: its decisions are missing")
        else:
            self._tell("pyland: the trace has the decisions of the pyland that runs now")

    def _note_policy(self) -> None:
        generation = int(lib.pyland_trace_scheduler(self._source))
        if generation < 0 or generation == self._seen.generation:
            return
        try:
            status = ask({"command": "status"}, timeout_s=2).get("status", {})
        except UsageError:
            return
        self._seen.generation = generation
        name = escape(str(status.get("policy", "policy")))[:_POLICY_NAME_MAX]
        lib.pyland_trace_policy(self._writer, name.encode("ascii", "backslashreplace"))

    def _begin_writing(self, latency_ns: int) -> None:
        when = self._options.when
        self._output.begin()
        if lib.pyland_trace_write_past(self._writer):
            self._fail()
        self._tell(
            f"pyland: {when.text if when else ''}: it is {latency_ns / 1e6:.1f} ms; writing "
            f"{escape(self._options.file)}"
        )

    def _end(self, why: str, waits: bool) -> None:
        if waits:
            when = self._options.when
            self._tell(f"pyland: {when.text if when else ''} was not met: nothing is written")
            return
        if lib.pyland_trace_end(self._writer, why.encode()):
            self._fail()
        self._tell(f"pyland: {escape(self._options.file)}: {self._told()}")

    def _fail(self) -> None:
        """The file takes no more: end it as well as it can be, and say what it has."""
        problem = _error()
        lib.pyland_trace_end(self._writer, problem.encode())
        raise ScheduleError(
            f"{escape(self._options.file)}: {problem}: the trace ends early, at "
            f"{lib.pyland_trace_totals(self._writer).bytes >> 10} KiB"
        )

    def _told(self) -> str:
        totals = lib.pyland_trace_totals(self._writer)
        seconds = (totals.end_ns - totals.begin_ns) / 1e9
        text = (
            f"{seconds:.1f} s, {totals.switches} switches, {totals.wakings} wakeups, "
            f"{totals.questions} questions, {totals.decisions} decisions, "
            f"{totals.bytes / (1 << 20):.1f} MiB"
        )
        lost = totals.lost + totals.tasks_lost
        if lost:
            return f"{text}; {lost} events were lost: a larger --ring has room for them"
        return f"{text}; nothing was lost"

    def _close(self) -> None:
        written = bool(self._writer) and lib.pyland_trace_totals(self._writer).bytes > 0
        self._own.close()
        lib.pyland_trace_detach(self._source)
        lib.pyland_trace_close(self._writer)
        self._source = self._writer = ffi.NULL
        self._output.close(written=written)


def _next_pause(pause_s: float, filled: int) -> float:
    """Half the rings' room is left for a burst."""
    if filled > 50:
        return max(pause_s / 2, _SHORTEST_PAUSE_S)
    return min(max(pause_s, _SHORTEST_PAUSE_S) * 1.2, _PAUSE_S) if filled < 20 else pause_s


def _as_scxtop_wants(topology: Topology) -> str:
    """The topology in the name of a track, where the readers of scxtop's traces look for it."""
    cpus = topology.cpus
    return "scxtop_topo:" + json.dumps(
        {
            "cpu_to_llc": {str(cpu.id): cpu.llc for cpu in cpus},
            "cpu_to_numa": {str(cpu.id): cpu.node for cpu in cpus},
            "cpu_to_core": {str(cpu.id): min(cpu.smt_siblings) for cpu in cpus},
            "nr_cpus": len(cpus),
            "nr_llcs": topology.nr_llcs,
            "nr_numa_nodes": topology.nr_nodes,
        },
        separators=(",", ":"),
    )


def _loads() -> tuple[str, ...]:
    """Texts of the kernel, one of which changes when it loads a scheduler or ends one."""
    return tuple(map(_kernel, ("state", "enable_seq", "root/ops")))


def _pyland_schedules() -> bool:
    return _kernel("state") == "enabled" and _kernel("root/ops").startswith("pyland")


def _kernel(name: str) -> str:
    """A file of the kernel about sched_ext; empty if there is none."""
    try:
        return (SCHED_EXT / name).read_text().strip()
    except OSError:
        return ""


def _error() -> str:
    return str(ffi.string(lib.pyland_error()).decode(errors="replace"))
