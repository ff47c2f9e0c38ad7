# SPDX-License-Identifier: GPL-2.0-only
"""One run of pyland on this machine's kernel, from the checks to the totals.

Three processes share it. This one keeps root and runs no policy: it loads the BPF
object, watches, answers at the control socket, and starts anew when the kernel wants
that. The worker schedules, as the user who called. The reporter prints.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pyland.caller import calling_user, policy_user
from pyland.errors import UsageError
from pyland.finder import choose
from pyland.kernel import checks, privileges
from pyland.kernel._native import lib
from pyland.kernel.control import ControlServer
from pyland.kernel.counters import TOTALS, Counters
from pyland.kernel.loader import QUEUE_CAP, LoadedScheduler, ring_capacities
from pyland.kernel.reporter import Reporter
from pyland.kernel.settings import Settings
from pyland.kernel.supervisor import Ended, Signals, Supervisor
from pyland.kernel.worker import MESSAGE_MAX, Wanted, Worker
from pyland.policies import BUILTINS
from pyland.topology import Topology, read_topology


class Session:
    """Schedules until a signal or the kernel ends it, across the kernel's restarts."""

    def __init__(self, settings: Settings, spec: str, given: Sequence[str], folder: Path) -> None:
        """Check the machine and the policy; raises UsageError with nothing changed.

        `spec`, `given` and `folder` are those of `pyland.finder.choose`.
        """
        checks.check_machine()
        self._settings = settings
        self._wanted = Wanted(spec, tuple(given), str(folder))
        _check_policy(self._wanted)
        self._totals = dict.fromkeys(TOTALS, 0)
        self._restarts = 0
        self._swaps = 0

    def run(self) -> str:
        """Schedule; the reason of the end when the user wanted it.

        Raises UsageError when it cannot start, ScheduleError when the kernel or the
        policy ended it. Either way every task is with the default scheduler afterwards.
        """
        control = ControlServer(owner=calling_user().uid)
        try:
            with Signals() as signals:
                while True:
                    ended = self._run_once(control, signals)
                    if not ended.again:
                        return ended.reason
                    self._restarts += 1
                    checks.wait_for_default_scheduler()
        finally:
            control.close()

    def totals(self) -> dict[str, int]:
        """What was counted, over all restarts, in the order of printing."""
        return self._totals | {"restarts": self._restarts, "swaps": self._swaps}

    def _run_once(self, control: ControlServer, signals: Signals) -> Ended:
        """One attachment."""
        topology = read_topology()
        scheduler = LoadedScheduler(self._settings, topology)
        try:
            return self._attached(scheduler, topology, control, signals)
        finally:
            scheduler.close()

    def _attached(
        self,
        scheduler: LoadedScheduler,
        topology: Topology,
        control: ControlServer,
        signals: Signals,
    ) -> Ended:
        channel, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * MESSAGE_MAX)
        pid = os.fork()
        if pid == 0:
            channel.close()
            control.abandon()
            signals.abandon()
            Worker(self._settings, topology, scheduler, other).live(self._wanted)
        other.close()
        counters = Counters(scheduler.state, pid)
        reporter = Reporter(
            counters,
            self._settings.stats_s,
            close=(channel.fileno(), *control.sources(), *signals.descriptors()),
        )
        supervisor = Supervisor(
            pid,
            channel,
            scheduler,
            counters,
            reporter,
            wanted=self._wanted,
            started=self._started_line(topology),
        )
        try:
            ended = supervisor.watch(control, signals)
        finally:
            supervisor.kill()
            self._wanted = supervisor.wanted
            self._swaps += supervisor.swaps
            for name, value in supervisor.totals().items():
                self._totals[name] += value
            reporter.close()
            channel.close()
        return ended

    def _started_line(self, topology: Topology) -> str:
        queued, dispatched = ring_capacities()
        return (
            f"on {len(topology.cpus)} CPUs"
            f" ({topology.nr_llcs} LLCs, {topology.nr_nodes} nodes), Linux {os.uname().release},"
            f" rings of {queued} records and {dispatched} decisions for {QUEUE_CAP} tasks"
        )


def _check_policy(wanted: Wanted) -> None:
    """Raise UsageError for a policy that cannot be had, before the slow part of starting.

    A policy's module is not run as root, nor in this process: a child imports it.
    """
    if wanted.spec in BUILTINS:
        choose(wanted.spec, wanted.given, folder=Path(wanted.folder))
        return
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        error = ""
        try:
            os.close(reading)
            lib.pyland_die_with_parent()
            privileges.drop(policy_user(calling_user()))
            choose(wanted.spec, wanted.given, folder=Path(wanted.folder))
        except UsageError as refused:
            error = str(refused)
        except BaseException as raised:  # noqa: BLE001 - it must not return into the caller's code
            error = f"policy {wanted.spec}: {type(raised).__name__}: {raised}"
        finally:
            with suppress(OSError):
                os.write(writing, json.dumps(error).encode()[:4096])
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answers:
        answer = answers.read()
    os.waitpid(pid, 0)
    if not answer:
        raise UsageError(f"policy {wanted.spec}: importing it ended the process")
    try:
        error = json.loads(answer)
    except ValueError:
        error = answer.decode(errors="replace")
    if error:
        raise UsageError(error)
