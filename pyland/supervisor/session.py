# SPDX-License-Identifier: GPL-2.0-only
"""One run of pyland on this machine's kernel, from the checks to the totals.

Five processes share the work. The supervisor, which is this process, keeps root and runs no
policy. It loads and attaches the BPF object, watches the worker, answers at the control socket,
and loads the object again when the kernel wants that. The worker runs the policy, as a user
without rights. The reporter prints. A process without rights serves statistics. The command has
started a process that waits for the end, to restore a setting of the kernel (host/compaction.py).
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from mmap import mmap
from typing import NoReturn

from pyland.engine.worker import Worker
from pyland.errors import ScheduleError, UsageError
from pyland.host import affinity, checks
from pyland.host.compaction import Compaction
from pyland.loading.caller import calling_user, policy_user
from pyland.loading.trust import remember_trusted_users
from pyland.loading.wanted import Wanted
from pyland.output import printing
from pyland.stats import numbers
from pyland.stats.counters import GAUGES, TOTALS, Counters
from pyland.stats.histograms import Histograms
from pyland.stats.listening import Listening
from pyland.stats.process import StatisticsProcess
from pyland.stats.snapshot import Source
from pyland.supervisor import descendants
from pyland.supervisor.confined import ConfinedCall
from pyland.supervisor.control import ControlServer
from pyland.supervisor.ending import Ended
from pyland.supervisor.loader import QUEUE_CAP, LoadedScheduler, check_layout, ring_capacities
from pyland.supervisor.reporter import Reporter
from pyland.supervisor.service import Service
from pyland.supervisor.settings import Settings
from pyland.supervisor.signals import Signals
from pyland.supervisor.supervisor import Supervisor
from pyland.supervisor.trial import START_WITHIN_S, SWAP_WITHIN_S, needs_trial, trial
from pyland.supervisor.worker_process import WorkerProcess
from pyland.topology import read_topology


class Session:
    """Schedules until a signal or a failure ends it, and continues after the kernel's restarts."""

    def __init__(self, settings: Settings, wanted: Wanted, service: Service) -> None:
        """Check the policy, on a machine that `checks.check_machine` has found good.

        Raises UsageError, and then has changed nothing.
        """
        self._service = service
        service.loading("trying the policy")
        check_layout()
        self._settings = settings
        self._caller = calling_user()
        self._policy_user = policy_user(self._caller, settings.user)
        remember_trusted_users()
        descendants.adopt()
        self._wanted = wanted
        self._topology = read_topology()
        if needs_trial(wanted):
            try:
                self._try(wanted, False, START_WITHIN_S).wait()
            except UsageError as error:
                descendants.end_descendants()
                if wanted.spec in str(error):
                    raise
                raise UsageError(f"--policy {wanted.spec}: {error}") from None
        else:
            # A built-in needs no folder, so root does not search the user's folder.
            wanted._replace(folder="/").choose()
        self._own = mmap(-1, numbers.SIZE)
        """The policy's own numbers. All processes map it: the reader trusts nothing there."""
        self._totals = dict.fromkeys(TOTALS, 0)
        self._restarts = 0
        self._swaps = 0

    def run(self) -> str:
        """Schedule until the user ends it; returns the reason of the end.

        Raises UsageError if scheduling cannot start, and ScheduleError if the kernel or the
        policy ended it. Afterwards the kernel's default scheduler has all tasks in each case.
        """
        affinity.widen()
        with ExitStack() as stack:
            # Called last, so this also ends processes that the trial of a policy has left.
            stack.callback(descendants.end_descendants)
            control = ControlServer(owner=self._caller.uid)
            stack.callback(control.close)
            self._listening = Listening.at(self._settings.places)
            stack.callback(self._listening.close)
            for note in self._listening.notes:
                printing.say(f"pyland: {printing.escape(note)}", "stderr", printing.WARNING)
            stack.enter_context(Compaction.of_this_process().switched_off())
            signals = stack.enter_context(Signals(hangup_reloads=bool(self._service)))
            scheduler = LoadedScheduler(self._settings, self._topology)
            try:
                worker = WorkerProcess(lambda *ends: self._live(scheduler, *ends))
                stack.callback(worker.kill)
                ended = self._attached(worker, scheduler, control, signals)
                while ended.again:
                    self._say_why_again(ended)
                    scheduler = self._load_anew(scheduler)
                    ended = self._attached(worker, scheduler, control, signals)
            finally:
                scheduler.close()
        return ended.reason

    def totals(self) -> dict[str, int]:
        """The counters, summed over all restarts, in the order in which they are printed."""
        return self._totals | {"restarts": self._restarts, "swaps": self._swaps}

    def _live(self, scheduler: LoadedScheduler, channel: socket.socket, output: int) -> NoReturn:
        """Run the worker; called in the worker's process."""
        worker = Worker(self._settings, self._policy_user, channel, self._own)
        worker.live(scheduler, self._wanted, output)

    def _say_why_again(self, ended: Ended) -> None:
        line = f"the kernel wants it loaded again: {ended.reason}"
        printing.say(f"pyland: {line}", level=printing.WARNING)
        self._service.loading(line)

    def _load_anew(self, old: LoadedScheduler) -> LoadedScheduler:
        """The object, loaded again as the kernel wants; any failure here is a ScheduleError."""
        self._restarts += 1
        try:
            old.detach()
            checks.wait_for_default_scheduler()
            self._topology = read_topology()
            scheduler = LoadedScheduler(self._settings, self._topology)
            scheduler.decided_by(old)
        except UsageError as error:
            raise ScheduleError(f"it could not be loaded again: {error}") from None
        old.close()
        return scheduler

    def _attached(
        self,
        worker: WorkerProcess,
        scheduler: LoadedScheduler,
        control: ControlServer,
        signals: Signals,
    ) -> Ended:
        """Schedule with one loaded object; returns how that ended."""
        counters = Counters(scheduler.state, worker.pid)
        own = self._own if self._settings.policy_numbers else None
        reporter = Reporter(counters, self._settings.stats_s, own)
        histograms = Histograms(scheduler.state, always=self._settings.histograms)
        nr_cpus = len(self._topology.cpus)
        source = Source(counters, self._own, self._wanted.spec, nr_cpus, histograms)
        statistics = StatisticsProcess(self._listening, source, scheduler.state)
        supervisor = Supervisor(
            worker,
            scheduler,
            counters,
            reporter,
            statistics,
            self._service,
            wanted=self._wanted,
            started=self._started_line(),
            start_trial=lambda wanted, reload: self._try(wanted, reload, SWAP_WITHIN_S),
        )
        ended = Ended("")
        try:
            worker.give_rings(scheduler, self._topology)
            ended = supervisor.watch(control, signals)
        except UsageError as error:
            if not self._restarts:
                raise
            raise ScheduleError(str(error)) from None
        finally:
            if not ended.again:
                self._service.stopping("ending")
                # Detach first: the kernel gets all tasks back even if the worker does not end.
                scheduler.detach()
            statistics.close()
            self._wanted = supervisor.wanted
            for name, value in supervisor.close(control).items():
                self._totals[name] = value if name in GAUGES else self._totals[name] + value
            if not ended.again:
                worker.kill(spare=(reporter.pid,))
            self._swaps += supervisor.swaps
            reporter.close()
        return ended

    def _try(self, wanted: Wanted, reload: bool, within_s: float) -> ConfinedCall:
        return trial(
            wanted,
            self._policy_user,
            self._topology,
            self._settings.slices,
            reload=reload,
            may_start_processes=self._settings.allow_processes,
            within_s=within_s,
        )

    def _started_line(self) -> str:
        topology = self._topology
        queued, dispatched = ring_capacities()
        return (
            f"on {len(topology.cpus)} CPUs"
            f" ({topology.nr_llcs} LLCs, {topology.nr_nodes} nodes), Linux {os.uname().release},"
            f" rings of {queued} records and {dispatched} decisions for {QUEUE_CAP} tasks"
        )
