# SPDX-License-Identifier: GPL-2.0-only
"""The machine's CPUs, caches and NUMA nodes, from sysfs."""

from pathlib import Path
from typing import NamedTuple

_SYSFS = Path("/sys/devices/system")
FULL_CAPACITY = 1024
# On a hybrid processor the fast cores differ by a tenth at most, and the slow ones compute less by
# a third at least.
_LITTLE_BELOW = FULL_CAPACITY * 3 // 4


class Cpu(NamedTuple):
    """One CPU. LLCs and NUMA nodes are numbered from 0 without gaps."""

    id: int
    smt_siblings: tuple[int, ...]
    """The CPUs of the same core, this one included."""
    llc: int
    """The CPUs with the same number share their last-level cache."""
    node: int
    capacity: int
    """Computing power relative to the machine's fastest CPU, which has 1024."""


class Topology(NamedTuple):
    """All CPUs that are online, in ascending order."""

    cpus: tuple[Cpu, ...]
    nr_cpu_ids: int
    """One more than the highest CPU number the kernel can ever use."""
    nohz_full: tuple[int, ...] = ()
    """The CPUs that the kernel keeps free of ticks while one task runs there."""

    @property
    def online(self) -> tuple[int, ...]:
        """The numbers of the online CPUs."""
        return tuple(cpu.id for cpu in self.cpus)

    @property
    def little(self) -> tuple[int, ...]:
        """The CPUs that compute much less than the fastest one: below three quarters."""
        return tuple(cpu.id for cpu in self.cpus if cpu.capacity < _LITTLE_BELOW)

    @property
    def nr_llcs(self) -> int:
        """How many last-level caches there are."""
        return 1 + max((cpu.llc for cpu in self.cpus), default=0)

    @property
    def nr_nodes(self) -> int:
        """How many NUMA nodes have CPUs."""
        return 1 + max((cpu.node for cpu in self.cpus), default=0)


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """The CPUs of a kernel list such as `0-3,8,10-11`, ascending; () for an empty one."""
    cpus: list[int] = []
    for part in text.strip().split(","):
        if part:
            first, _, last = part.partition("-")
            cpus.extend(range(int(first), int(last or first) + 1))
    return tuple(cpus)


def read_topology(sysfs: Path = _SYSFS) -> Topology:
    """The topology of the running machine, or of a copy of its `/sys/devices/system`.

    If a file is missing, as on some virtual machines, the plainest layout is assumed: no
    siblings, one LLC, one node, equal capacities.
    """
    base = sysfs / "cpu"
    possible = parse_cpu_list(_read(base / "possible") or "0")
    online = parse_cpu_list(_read(base / "online") or "") or possible
    node_of = node_ids(sysfs / "node")
    llc_keys = {cpu: _llc_key(base / f"cpu{cpu}", node_of.get(cpu, 0)) for cpu in online}
    llcs = {key: number for number, key in enumerate(dict.fromkeys(llc_keys.values()))}
    nodes = {
        node: number for number, node in enumerate(sorted({node_of.get(c, 0) for c in online}))
    }
    capacities = {cpu: _capacity(base / f"cpu{cpu}") for cpu in online}
    fastest = max(capacities.values())
    cpus = tuple(
        Cpu(
            id=cpu,
            smt_siblings=parse_cpu_list(
                _read(base / f"cpu{cpu}/topology/thread_siblings_list") or str(cpu)
            ),
            llc=llcs[llc_keys[cpu]],
            node=nodes[node_of.get(cpu, 0)],
            capacity=capacities[cpu] * FULL_CAPACITY // fastest,
        )
        for cpu in online
    )
    # If no CPU is isolated, the kernel writes "(null)" there.
    tickless = _read(base / "nohz_full") or ""
    nohz_full = parse_cpu_list(tickless) if tickless[:1].isdigit() else ()
    return Topology(cpus=cpus, nr_cpu_ids=max(possible) + 1, nohz_full=nohz_full)


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def node_ids(base: Path = _SYSFS / "node") -> dict[int, int]:
    """The kernel's number of each CPU's NUMA node; it may leave gaps."""
    node_of = {}
    for path in base.glob("node[0-9]*"):
        for cpu in parse_cpu_list(_read(path / "cpulist") or ""):
            node_of[cpu] = int(path.name.removeprefix("node"))
    return node_of


def _llc_key(cpu: Path, node: int) -> str:
    """A key that is the same for all CPUs of one last-level cache, and for no other CPU."""
    level, shared = 0, ""
    for index in cpu.glob("cache/index[0-9]*"):
        found = int(_read(index / "level") or 0)
        if found > level:
            level, shared = found, _read(index / "shared_cpu_list") or ""
    return shared if level >= 2 else f"node {node}"


def _capacity(cpu: Path) -> int:
    # Arm and hybrid x86 kernels have the capacity; elsewhere the firmware's highest performance
    # level distinguishes the cores of a hybrid CPU best.
    for name in ("cpu_capacity", "acpi_cppc/highest_perf"):
        value = _read(cpu / name)
        if value and value.isdigit() and int(value) > 0:
            return int(value)
    return FULL_CAPACITY
