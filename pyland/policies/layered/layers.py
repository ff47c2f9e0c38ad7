# SPDX-License-Identifier: GPL-2.0-only
"""What a layer is: the rules that choose its tasks, its kind and its options."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

Kind = Literal["Confined", "Grouped", "Open"]

GROWTH_ALGORITHMS = (
    "Sticky",
    "Linear",
    "Reverse",
    "Random",
    "Topo",
    "RoundRobin",
    "BigLittle",
    "LittleBig",
    "NodeSpread",
    "NodeSpreadReverse",
    "NodeSpreadRandom",
    "CpuSetSpread",
    "CpuSetSpreadReverse",
    "CpuSetSpreadRandom",
    "RandomTopo",
    "StickyDynamic",
)
"""The orders in which a layer takes cores; `growth` has them."""

PLACEMENTS = ("Standard", "Sticky", "Floating")
SLICE_US = 20_000
"""The slice of layers that name none."""

DEFAULT_WEIGHT, LEAST_WEIGHT, MOST_WEIGHT = 100, 1, 10_000
DISALLOW_OPEN_US = 40_000
DISALLOW_PREEMPT_US = 80_000
"""What `disallow_open_after_us` is without a value."""


class Match(NamedTuple):
    """One condition: its name in the file, and its argument (a tuple if it takes several)."""

    name: str
    value: Any


class Options(NamedTuple):
    """All options of all kinds, by the names that they have in the file; times in microseconds."""

    util_range: tuple[float, float] | None = None
    util_includes_open_cputime: bool = False
    cpus_range: tuple[int, int] | None = None
    cpus_range_frac: tuple[float, float] | None = None
    membw_gb: float | None = None
    protected: bool = False
    idle_confined: bool = False
    min_exec_us: int = 0
    yield_ignore: float = 0.0
    slice_us: int = 0
    fifo: bool = False
    preempt: bool = False
    preempt_first: bool = False
    exclusive: bool = False
    allow_node_aligned: bool | None = None
    skip_remote_node: bool = False
    prev_over_idle_core: bool = False
    weight: int = 0
    disallow_open_after_us: int | None = None
    disallow_preempt_after_us: int | None = None
    xllc_mig_min_us: float = 0.0
    idle_smt: bool | None = None
    growth_algo: str = "Sticky"
    util_peak_half_life_ms: int = 0
    perf: int = 0
    idle_resume_us: int | None = None
    nodes: tuple[int, ...] = ()
    llcs: tuple[int, ...] = ()
    placement: str = "Standard"
    member_expire_ms: int = 0
    xnuma_threshold: tuple[float, float] = (0.6, 0.7)
    xnuma_threshold_delta: tuple[float, float] = (0.2, 0.3)


class LayerPolicy(NamedTuple):
    """The policy that orders the tasks of one layer, as the file names it."""

    spec: str
    """The policy's name in the form that `--policy` takes."""
    options: Mapping[str, bool | int | float | str] = MappingProxyType({})
    folder: str = "/"
    """The absolute path where a module or a relative file is looked for: that of the layer file."""
    place: str = ""
    """Where the layer file names the policy, as `file:line:column`."""
    option_places: Mapping[str, str] = MappingProxyType({})
    """By option, where the layer file has it, as `file:line:column`."""


class Layer(NamedTuple):
    """One layer. A task belongs to the first layer that it matches."""

    name: str
    kind: Kind
    matches: tuple[tuple[Match, ...], ...]
    """Alternatives: a task matches if all conditions of one alternative hold."""
    options: Options = Options()
    comment: str = ""
    template: Match | None = None
    """For a template: it becomes one layer for each cgroup that this condition matches."""
    cpuset: int | None = None
    """For a layer made from a template: the mask of the cgroup's CPUs."""
    place: str = ""
    """Where the layer is, as `file:line:column`."""
    policy: LayerPolicy | None = None
    """What orders its tasks; None: virtual time, as all layers of scx_layered."""

    @property
    def is_open(self) -> bool:
        """True if it has no CPUs of its own."""
        return self.kind == "Open"

    @property
    def weight(self) -> int:
        """Its share where layers want more CPUs than there are."""
        return min(max(self.options.weight or DEFAULT_WEIGHT, LEAST_WEIGHT), MOST_WEIGHT)

    @property
    def open_after_ns(self) -> int | None:
        """How long all CPUs must be busy before it is kept off other layers' CPUs; None: never."""
        if self.options.preempt:
            return None
        after_us = self.options.disallow_open_after_us
        return (DISALLOW_OPEN_US if after_us is None else after_us) * 1000

    @property
    def preempt_after_ns(self) -> int | None:
        """How long all CPUs must be busy before tasks of preempting layers that compute are kept
        off its CPUs; None: never.
        """
        if self.options.preempt or self.is_open:
            return None
        after_us = self.options.disallow_preempt_after_us
        return (DISALLOW_PREEMPT_US if after_us is None else after_us) * 1000

    def cpus_range(self, nr_cpus: int) -> tuple[int, int]:
        """The fewest and the most CPUs that it has on a machine with this many."""
        options = self.options
        if options.cpus_range:
            return options.cpus_range
        if options.cpus_range_frac:
            least, most = (max(round(nr_cpus * part), 1) for part in options.cpus_range_frac)
            return least, min(most, nr_cpus)
        return 0, nr_cpus
