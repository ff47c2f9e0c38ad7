# SPDX-License-Identifier: GPL-2.0-only
"""One run of a policy on this machine's kernel, from the checks to the totals."""

import os
import traceback

from pyland.errors import ScheduleError, UsageError
from pyland.kernel import checks, memory
from pyland.kernel._native import lib
from pyland.kernel.counters import TOTALS, Counters
from pyland.kernel.loader import QUEUE_CAP, LoadedScheduler, ring_capacities
from pyland.kernel.loop import DispatchLoop, Stop
from pyland.kernel.reporter import Reporter
from pyland.kernel.settings import Settings
from pyland.policy import Policy
from pyland.topology import Topology, read_topology


class Session:
    """Schedules until a signal or the kernel ends it, across the kernel's restarts."""

    def __init__(self, settings: Settings, policy: type[Policy]) -> None:
        """Check the machine; raises UsageError with nothing changed."""
        checks.check_machine()
        self._settings = settings
        self._policy = policy
        self._totals = dict.fromkeys(TOTALS, 0)
        self._restarts = 0

    def run(self) -> str:
        """Schedule; the reason of the end when the user wanted it.

        Raises UsageError when it cannot start, ScheduleError when the kernel ended it.
        Either way every task is with the default scheduler afterwards.
        """
        if lib.pyland_catch_signals():
            raise UsageError("signal handlers cannot be installed")
        while True:
            reason = self._run_once()
            if reason:
                return reason
            self._restarts += 1
            checks.wait_for_default_scheduler()

    def totals(self) -> dict[str, int]:
        """What was counted, over all restarts, in the order of printing."""
        return self._totals | {"restarts": self._restarts}

    def _run_once(self) -> str:
        """One attachment; an empty reason asks for another."""
        topology = read_topology()
        scheduler = LoadedScheduler(self._settings, topology)
        try:
            return self._schedule(scheduler, topology)
        finally:
            scheduler.close()

    def _schedule(self, scheduler: LoadedScheduler, topology: Topology) -> str:
        memory.prepare()
        policy = self._make(topology)
        loop = DispatchLoop(scheduler.rings, policy)
        counters = Counters(scheduler.rings, os.getpid())
        counters.start_counting_faults()
        reporter = Reporter(counters, self._started_line(topology), self._settings.stats_s)
        try:
            loop.warm_up(self._make(topology))
            memory.lock()
            counters.start_counting_faults()
            scheduler.attach()
            reporter.scheduling_started()
            stop = self._run_policy(loop)
            self._count(counters)
            if stop is Stop.SIGNAL:
                return "stopped by a signal"
            if stop is Stop.RING:
                errno = lib.pyland_shared_memory(scheduler.rings).drain_error
                raise ScheduleError(f"the ring of decisions is broken: {os.strerror(errno)}")
            end = scheduler.exit()
            if end.wants_restart:
                return ""
            raise ScheduleError(f"the kernel ended it: {end}\n{end.dump}".rstrip())
        finally:
            scheduler.detach()
            reporter.close()

    def _run_policy(self, loop: DispatchLoop) -> Stop:
        try:
            return loop.run()
        except Exception as error:
            why = "".join(traceback.format_exception(error))
            raise ScheduleError(f"policy {self._policy.name} raised {error!r}\n{why}") from error

    def _make(self, topology: Topology) -> Policy:
        settings = self._settings
        return self._policy(settings.slices, topology, percpu_local=settings.percpu_local)

    def _count(self, counters: Counters) -> None:
        values = counters.read()
        for name in TOTALS:
            self._totals[name] += values[name]

    def _started_line(self, topology: Topology) -> str:
        queued, dispatched = ring_capacities()
        return (
            f"pyland: scheduling with {self._policy.name} on {len(topology.cpus)} CPUs"
            f" ({topology.nr_llcs} LLCs, {topology.nr_nodes} nodes), Linux {os.uname().release},"
            f" rings of {queued} records and {dispatched} decisions for {QUEUE_CAP} tasks"
        )
