# SPDX-License-Identifier: GPL-2.0-only
"""Opens, loads and attaches the BPF object, and says why the kernel ended the scheduler."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pyland import _native
from pyland._layout import LAYOUT
from pyland._native import ffi, lib
from pyland.errors import ScheduleError, UsageError
from pyland.host.checks import SCHED_EXT
from pyland.host.problems import attach_problem, load_problem
from pyland.output.printing import escape
from pyland.supervisor.settings import Settings
from pyland.topology import Topology, node_ids

QUEUE_CAP = 4096
"""The most tasks that wait for a decision; BPF dispatches further ones without Python."""

MAX_BATCH = 512
"""The most records of a cycle; this bounds its length when thousands of tasks wake up."""

HEARTBEAT_NS = 50_000_000
"""User space runs at least this often while a task waits."""

_OBJECT = Path(_native.__file__).with_name("pyland.bpf.o").read_bytes()
_DEFAULT_DUMP_LEN = 32768  # the kernel's own default, for the buffer that receives it
_ECODE_RESTART = 1 << 48  # SCX_ECODE_ACT_RESTART
_EXIT_SYSRQ = 67  # SCX_EXIT_SYSRQ
_SCHED_EXT_CLASS = 7  # uapi/linux/sched.h since 6.12


class KernelExit(NamedTuple):
    """Why the kernel ended the scheduler."""

    kind: int
    reason: str
    message: str
    dump: str
    wants_restart: bool

    @property
    def was_asked(self) -> bool:
        """True if a person at the keyboard wanted it (SysRq-S), and nothing has failed."""
        return self.kind == _EXIT_SYSRQ

    def __str__(self) -> str:
        # The text may have names of tasks, which may have newlines.
        return escape(f"{self.reason} ({self.message})" if self.message else self.reason)


class LoadedScheduler:
    """A loaded BPF object, from load to detach."""

    def __init__(self, settings: Settings, topology: Topology) -> None:
        """Load the object; raises UsageError if the kernel refuses it."""
        options = ffi.new("struct pyland_load_options *")
        config = options.config
        config.longest_ns = settings.slices.longest_ns
        config.shortest_ns = settings.slices.shortest_ns
        config.lag_ns = settings.lag_us * 1000
        config.heartbeat_ns = HEARTBEAT_NS
        config.nr_cpu_ids = topology.nr_cpu_ids
        config.nr_llcs = topology.nr_llcs
        config.numa_local = settings.numa_local
        config.partial = settings.partial
        config.cgroup_weights = settings.cgroup_weights
        config.exit_dump_len = settings.exit_dump_len or _DEFAULT_DUMP_LEN
        options.queued_bytes = _ring_bytes("struct pyland_queued")
        options.dispatched_bytes = _ring_bytes("struct pyland_decision")
        options.partial = settings.partial
        options.verbose = settings.verbose
        with suppress(OSError):
            options.hotplug_seq = int((SCHED_EXT / "hotplug_seq").read_text())
        self._dump_len = config.exit_dump_len
        config.some_nohz_full = bool(topology.nohz_full)
        little = topology.little
        config.hybrid = bool(little)
        cpus = ffi.new("struct pyland_cpu[]", topology.nr_cpu_ids)
        node_of = node_ids()
        for cpu in topology.cpus:
            cpus[cpu.id].llc, cpus[cpu.id].node = cpu.llc, node_of.get(cpu.id, 0)
            cpus[cpu.id].core = min(cpu.smt_siblings)
            cpus[cpu.id].nohz_full = cpu.id in topology.nohz_full
            cpus[cpu.id].little = cpu.id in little
        self._object = lib.pyland_load(_OBJECT, len(_OBJECT), options, cpus)
        if not self._object:
            raise UsageError(load_problem(error()))
        self.state: Any = lib.pyland_map_state(self._object)
        if not self.state:
            problem = error()
            self.close()
            raise UsageError(problem)

    def join(self) -> None:
        """Register this process as the one that decides; needs root. Raises UsageError."""
        if lib.pyland_run_program(self._object, b"pyland_register", ffi.NULL, 0):
            raise UsageError(error())
        # In the fair class this process would never leave its CPU: it yields, but never sleeps.
        try:
            os.sched_setscheduler(0, _SCHED_EXT_CLASS, os.sched_param(0))
        except OSError as refused:
            raise UsageError(f"sched_setscheduler(SCHED_EXT): {refused.strerror}") from None

    def ring_maps(self) -> tuple[tuple[int, int, int], list[int]]:
        """Sizes and descriptors for `map_rings` in the worker; raises UsageError."""
        maps = ffi.new("struct pyland_ring_maps *")
        if lib.pyland_ring_maps(self._object, maps):
            raise UsageError(error())
        sizes = (maps.queued_bytes, maps.dispatched_bytes, maps.nr_cpus)
        return sizes, [
            maps.queued,
            maps.dispatched,
            maps.user,
            maps.user_cpus,
            maps.user_domains,
        ]

    def decided_by(self, other: LoadedScheduler) -> None:
        """Take over the process that decides from `other`, which was loaded before."""
        self.state.shared.sched_tgid = other.state.shared.sched_tgid

    def attach(self) -> None:
        """Let the kernel schedule with this object; raises UsageError if the kernel refuses."""
        if lib.pyland_attach(self._object):
            raise UsageError(attach_problem(error()))

    def exit(self) -> KernelExit:
        """Why the kernel ended the scheduler; raises ScheduleError if it has not ended it."""
        shared = self.state.shared
        if not shared.exited:
            raise ScheduleError("the kernel has not ended the scheduler")
        buffer = ffi.new("char[]", self._dump_len)
        fd = lib.pyland_map_fd(self._object, b"exit_dump", ffi.new("unsigned int *"))
        lib.bpf_map_lookup_elem(fd, ffi.new("unsigned int *"), buffer)
        return KernelExit(
            kind=shared.exit_kind,
            reason=_text(shared.exit_reason),
            message=_text(shared.exit_message),
            dump=_text(buffer),
            wants_restart=bool(shared.exit_code & _ECODE_RESTART),
        )

    def detach(self) -> None:
        """Give every task back to the kernel's default scheduler; the state stays mapped."""
        if self._object:
            lib.pyland_close(self._object)
            self._object = ffi.NULL

    def close(self) -> None:
        """Detach, and unmap the state with its counters."""
        self.detach()
        if self.state:
            lib.pyland_unmap_state(self.state)
            self.state = ffi.NULL


def map_rings(sizes: tuple[int, int, int], descriptors: Sequence[int], again: Any = None) -> Any:
    """Map rings and user memory; the caller can close the descriptors. Raises UsageError.

    `again` are earlier rings: they are unmapped, and their memory for batches is used again.
    """
    maps = ffi.new("struct pyland_ring_maps *")
    maps.queued, maps.dispatched, maps.user, maps.user_cpus, maps.user_domains = descriptors
    maps.queued_bytes, maps.dispatched_bytes, maps.nr_cpus = sizes
    rings = again or lib.pyland_map_rings(maps, MAX_BATCH)
    if not rings or (again and lib.pyland_map_again(again, maps)):
        raise UsageError(error())
    return rings


def check_layout() -> None:
    """Raise UsageError if the Python package and its native part are of different builds."""
    if lib.pyland_layout() != LAYOUT:
        raise UsageError(
            "pyland's Python part and its native part are of different builds: install it again"
        )


def error() -> str:
    """One line about the last failure of the C core."""
    return _text(lib.pyland_error())


def ring_capacities() -> tuple[int, int]:
    """How many records the queued and the dispatched ring take."""
    sizes = ("struct pyland_queued", "struct pyland_decision")
    queued, dispatched = (_ring_bytes(name) // _step(name) for name in sizes)
    return queued, dispatched


def _step(c_struct: str) -> int:
    return 8 + (int(ffi.sizeof(c_struct)) + 7 & ~7)  # every sample has a header of 8 bytes


def _ring_bytes(c_struct: str) -> int:
    """The smallest ring, a power of two, that has room for `QUEUE_CAP` samples."""
    return 1 << (QUEUE_CAP * _step(c_struct) - 1).bit_length()


def _text(chars: Any) -> str:
    return str(ffi.string(chars).decode(errors="replace"))
