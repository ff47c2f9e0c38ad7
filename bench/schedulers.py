# SPDX-License-Identifier: GPL-2.0-only
"""The schedulers of the comparison: the kernel's default, pyland's policies, and scx_*."""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cost import Meter, between
from bench.figures import DEFAULT
from pyland._native import ffi
from pyland.policies import BUILTINS
from pyland.supervisor import control
from tools.load.command import Command
from tools.load.scheduler import START_S, Scheduler, kernel_state, until

POLICIES = (*BUILTINS, "deadline order=python")
"""Policies of pyland, each with its options."""

# Bytes of a decision in the ring of schedulers made with scx_rustland_core (its intf.h, 2.4).
_RUSTLAND_DECISION = 40
_RUSTLAND = ("scx_rustland", "scx_rlfifo")
_NO_PEERS = ("scx_loader", "scx_chaos", "scx_pyland")
"""The scx project's tools, and the name that pyland has for its services."""


class Running:
    """A scheduler that is loaded."""

    def __init__(self, meter: Meter | None = None, *, pyland: bool = False) -> None:
        self._meter = meter
        self._pyland = pyland
        self._loaded = (kernel_state(), kernel_state("enable_seq"))

    def has_ended(self) -> bool:
        """True if the kernel has ended the scheduler meanwhile."""
        return (kernel_state(), kernel_state("enable_seq")) != self._loaded

    @contextmanager
    def measured(self) -> Iterator[dict[str, Any]]:
        """The cost of the block, filled in at its end; stays empty for the kernel's scheduler."""
        cost: dict[str, Any] = {}
        if self._meter is None:
            yield cost
            return
        counters = self._counters()
        before = self._meter.read()
        yield cost
        # Read before pyland is asked for its counters: the question itself costs CPU time.
        after = self._meter.read()
        counted = {name: value - counters[name] for name, value in self._counters().items()}
        cost.update(between(before, after, counted))

    def _counters(self) -> Mapping[str, int]:
        if not self._pyland:
            return {}
        answer = control.ask({"command": "status"}, timeout_s=60)
        if not answer["ok"]:
            raise RuntimeError(f"pyland status: {answer['error']}")
        counters: Mapping[str, int] = answer["status"]["counters"]
        return counters


@dataclass(frozen=True)
class Contender:
    """A scheduler: its name in the results, and the command that starts it."""

    name: str
    command: tuple[str, ...] = ()

    @contextmanager
    def scheduling(self) -> Iterator[Running]:
        """The loaded scheduler; RuntimeError if it does not start, or ends by itself."""
        if not self.command:
            yield Running()
            return
        if kernel_state() != "disabled":
            raise RuntimeError(f"a scheduler is loaded already: {kernel_state('root/ops')}")
        started = self._pyland() if self.name.startswith("pyland") else self._scx()
        with started as running:
            yield running
        if until(lambda: kernel_state() == "disabled", 30) is None:
            raise RuntimeError(f"{self.name} does not end")

    @contextmanager
    def _pyland(self) -> Iterator[Running]:
        with Scheduler(*self.command[1:], program=self.command[:1]) as scheduler:
            size = ffi.sizeof("struct pyland_decision")
            meter = Meter(scheduler.pid, scheduler.worker_pid, size)
            try:
                yield Running(meter, pyland=True)
            finally:
                meter.close()
            if not scheduler.running:
                raise RuntimeError(f"{self.name} ended by itself:\n{scheduler.about()}")

    @contextmanager
    def _scx(self) -> Iterator[Running]:
        with Command(*self.command) as command:
            until(lambda: kernel_state() == "enabled" or not command.running, START_S)
            if kernel_state() != "enabled":
                raise RuntimeError(f"did not start: {_complaint(command.output)}")
            meter = None
            if self.name.startswith(_RUSTLAND):
                meter = Meter(command.pid, command.pid, _RUSTLAND_DECISION)
            try:
                yield Running(meter)
            finally:
                if meter:
                    meter.close()
            if not command.running or kernel_state() != "enabled":
                raise RuntimeError(f"ended by itself: {_complaint(command.output)}")
            command.stop(signal.SIGINT)


def contenders(pyland: str | Path) -> list[Contender]:
    """The default scheduler, every built-in policy, and every scx_* command on PATH."""
    own = []
    for name in POLICIES:
        policy, *options = name.split()
        given = [f"--policy-opt={option}" for option in options]
        own.append(Contender(f"pyland {name}", (str(pyland), "--policy", policy, *given)))
    return [Contender(DEFAULT), *own, *(Contender(p.name, (str(p),)) for p in _scx_on_path())]


def _scx_on_path() -> list[Path]:
    found: dict[str, Path] = {}
    # In the lab: PATH of the user that called `make bench-kernel`.
    handed_on = os.environ.get("PYLAND_BENCH_PATH", "").split(os.pathsep)
    for folder in [*os.get_exec_path(), *filter(None, handed_on)]:
        for path in sorted(Path(folder).glob("scx_*")):
            if shutil.which(path) and path.name not in _NO_PEERS:
                found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def _complaint(output: str) -> str:
    """The reason for the end of a scheduler from its output, in one line."""
    lines = [re.sub(r"\x1b\[\d*m", "", line).strip() for line in output.splitlines()]
    errors = [at for at, line in enumerate(lines) if line.startswith("Error")]
    told = lines[errors[0] :] if errors else lines[-1:]
    return " ".join(filter(None, told))[:300] or "it said nothing"


def version(contender: Contender) -> str:
    """The output of `--version` in one line; empty for the kernel's scheduler."""
    if not contender.command:
        return ""
    with Command(contender.command[0], "--version") as command:
        command.wait(60)
        return re.sub(r"\s+", " ", command.output).strip()
