# SPDX-License-Identifier: GPL-2.0-only
"""Real rings on this machine's kernel, with BPF programs at their other end."""

import mmap
import os
import struct
from pathlib import Path
from typing import Any

from pyland._native import ffi, lib
from pyland.engine.machine import KernelMachine
from pyland.machine import Slices
from pyland.supervisor import loader
from pyland.topology import Cpu, Topology
from tools.build import toolchain

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("rings.bpf.c")

DECISION = struct.Struct("=Qii4Q")

# rings.bpf.c has rings of 16 and 8 MiB; every sample has a header of 8 bytes.
QUEUED = (16 << 20) // (8 + lib.PYLAND_BASE_RECORD)
DISPATCHED = (8 << 20) // (8 + DECISION.size)

MACHINE = Topology(
    cpus=tuple(Cpu(id=n, smt_siblings=(n,), llc=0, node=0, capacity=1024) for n in range(2)),
    nr_cpu_ids=2,
)
"""The two CPUs that rings.bpf.c has."""


class RingsUnavailable(Exception):
    """BPF cannot be loaded here; the message says why."""


def _object() -> Path:
    """The compiled programs; compiled again if they are older than their sources."""
    output = ROOT / "build" / "rings" / "rings.bpf.o"
    sources = (SOURCE, ROOT / "bpf" / "intf.h", ROOT / "bpf" / "records_intf.h")
    if not output.exists() or output.stat().st_mtime < max(s.stat().st_mtime for s in sources):
        libbpf = toolchain.find_libbpf()
        toolchain.compile_bpf(SOURCE, output, libbpf, ROOT / "bpf")
    return output


class Rings:
    """A pair of rings; `produce` and `consume` run in the kernel."""

    def __init__(self, max_batch: int = loader.MAX_BATCH) -> None:
        """Raises RingsUnavailable where BPF cannot be loaded."""
        if os.geteuid() != 0:
            raise RingsUnavailable("loading BPF programs needs root")
        self._load()
        maps = ffi.new("struct pyland_ring_maps *")
        assert not lib.pyland_ring_maps(self._object, maps), loader.error()
        self.shim: Any = lib.pyland_map_rings(maps, max_batch)
        assert self.shim, loader.error()
        self.user = self.shim.user
        self.max_batch = max_batch
        self.produced = 0
        self.consumed = 0

    def _load(self) -> None:
        self._object = lib.pyland_load_programs(str(_object()).encode())
        if not self._object and "not permitted" in loader.error():
            raise RingsUnavailable(loader.error())
        assert self._object, loader.error()

    def load_again(self) -> None:
        """New rings in place of these, as after a restart by the kernel."""
        old = self._object
        self._load()
        maps = ffi.new("struct pyland_ring_maps *")
        assert not lib.pyland_ring_maps(self._object, maps), loader.error()
        sizes = (maps.queued_bytes, maps.dispatched_bytes, maps.nr_cpus)
        fds = [maps.queued, maps.dispatched, maps.user, maps.user_cpus, maps.user_domains]
        self.shim = loader.map_rings(sizes, fds, again=self.shim)
        lib.pyland_close(old)
        self.user = self.shim.user
        self.produced = self.consumed = 0

    def produce(self, nr: int) -> int:
        """Let the kernel write `nr` records with the next numbers; returns how many had room."""
        written = self._run("produce", nr, self.produced)
        self.produced += written
        return written

    def produce_whole(self) -> int:
        """Let the kernel write a record with the extra fields and the next number."""
        written = self._run("produce_whole", 1, self.produced)
        self.produced += written
        return written

    def produce_event(self, kind: int, pid: int) -> int:
        """Let the kernel write an event of a task."""
        return self._run("produce_event", kind, pid)

    def consume(self, nr: int, slot: int = 0) -> int:
        """Let the kernel take up to `nr` decisions; returns how many there were, or -errno."""
        taken = self._run("consume", nr, slot)
        self.consumed += max(taken, 0)
        return taken

    def taken(self, nr: int) -> list[tuple[int, ...]]:
        """The first `nr` decisions of the last `consume`."""
        with self._map(b"seen") as seen:
            return list(DECISION.iter_unpack(seen[: nr * DECISION.size]))

    def records(self) -> list[int]:
        """The numbers of all records in the buffer for batches; old ones follow the last batch."""
        return [lib.pyland_record(self.shim, index).seq for index in range(self.max_batch)]

    def corrupt_decisions(self) -> None:
        """Overwrite the header of the oldest decision, as a stray pointer would."""
        page = mmap.PAGESIZE
        entries = ffi.new("unsigned int *")
        fd = lib.pyland_map_fd(self._object, b"dispatched", entries)
        with mmap.mmap(fd, 2 * page, offset=page) as ring:
            ring[page : page + 4] = struct.pack("=I", 0x3FFFFFFF)

    def machine(self) -> KernelMachine:
        """The machine that policies over these rings see."""
        return KernelMachine(self.shim, MACHINE, Slices())

    def close(self) -> None:
        """Unmap and unload."""
        lib.pyland_unmap_rings(self.shim)
        lib.pyland_close(self._object)

    def _map(self, name: bytes) -> mmap.mmap:
        entries = ffi.new("unsigned int *")
        fd = lib.pyland_map_fd(self._object, name, entries)
        return mmap.mmap(fd, entries[0] * DECISION.size)

    def _run(self, program: str, nr: int, first: int) -> int:
        context = ffi.new("unsigned int[2]", [nr, first])
        return int(lib.pyland_run_program(self._object, program.encode(), context, 8))
