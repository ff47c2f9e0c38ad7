# SPDX-License-Identifier: GPL-2.0-only
"""What the layers of a file would be on a machine, in words and as a picture of its CPUs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

from pyland.cpumask import cpus_of
from pyland.policies.layered.cores import Cores
from pyland.policies.layered.layers import Layer, Match, Options
from pyland.policies.layered.machines import cores_for
from pyland.policies.layered.reading import Config
from pyland.policies.layered.sizing import Sizer
from pyland.policies.layered.utilisation import Usage
from pyland.topology import Topology

SIGNS = "0123456789ABCDEF"
"""The sign of each layer in a picture; `.` is a CPU that no layer owns."""

BY_VIRTUAL_TIME = "none of its own: by virtual time"

_WORDS = {
    "CgroupPrefix": "cgroup begins with {!r}",
    "CgroupSuffix": "cgroup ends with {!r}",
    "CgroupContains": "cgroup contains {!r}",
    "CgroupRegex": "cgroup matches /{}/",
    "CommPrefix": "name begins with {!r}",
    "CommPrefixExclude": "name does not begin with {!r}",
    "PcommPrefix": "process name begins with {!r}",
    "PcommPrefixExclude": "process name does not begin with {!r}",
    "NiceAbove": "nice above {}",
    "NiceBelow": "nice below {}",
    "NiceEquals": "nice is {}",
    "UIDEquals": "user is {}",
    "GIDEquals": "group is {}",
    "PIDEquals": "pid is {}",
    "PPIDEquals": "parent's pid is {}",
    "TGIDEquals": "process is {}",
    "NSEquals": "PID namespace is {}",
    "CmdJoin": "it joined {!r}",
    "HintEquals": "hint is {}",
    "SystemCpuUtilBelow": "the machine's utilisation is below {:g}",
    "DsqInsertBelow": "the layer's share of queued tasks is below {:g}",
    "NumaNode": "affinity is within node {}",
}
_YES_NO = {
    "IsGroupLeader": ("leads its process", "does not lead its process"),
    "IsKthread": ("is a kernel thread", "is no kernel thread"),
}


def shown(
    config: Config,
    topology: Topology,
    *,
    partial: bool = False,
    cpusets: Iterable[int] = (),
    policies: Mapping[int, str] = MappingProxyType({}),
) -> str:
    """The whole text of `pyland layered --check`.

    `cpusets` are the masks of the cgroups' CPU sets; `policies` are told of the layers with these
    numbers.
    """
    cores = cores_for(config.layers, topology, partial=partial)
    sizer = Sizer(config.layers, cores, cpusets)
    lines = [_machine(topology, cores), ""]
    for index, layer in enumerate(config.layers):
        lines += _layer(index, layer, sizer)
        lines.append(f"   policy:  {policies.get(index, BY_VIRTUAL_TIME)}")
        lines.append("")
    lines += ["CPUs while no task runs:", *picture(sizer), ""]
    for _ in range(50):
        nr_cpus = cores.nr_cpus
        sizer.step(0.1, [Usage(0.1 * nr_cpus)] * len(config.layers))
    lines += ["CPUs while every layer wants all of them:", *picture(sizer)]
    lines += ["", *(f"{SIGNS[i]} = {_one_line(one.name)}" for i, one in enumerate(config.layers))]
    if sizer.free and not any(layer.is_open for layer in config.layers):
        lines.append(". = no layer's; Grouped layers' tasks run there when their own are busy")
    return "\n".join(lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _machine(topology: Topology, cores: Cores) -> str:
    return (
        f"{cores.nr_cpus} CPUs, {len(cores.all)} cores, {topology.nr_llcs} LLCs, "
        f"{topology.nr_nodes} nodes; layers take CPUs in units of {cores.unit}"
    )


def picture(sizer: Sizer) -> Iterator[str]:
    """A line for each cache: a sign for each CPU, siblings of a core together."""
    owner = {}
    for index, layer in enumerate(sizer.layers):
        if not layer.is_open:
            owner.update(dict.fromkeys(cpus_of(sizer.cpus[index]), SIGNS[index]))
    of_open = [index for index, layer in enumerate(sizer.layers) if layer.is_open]
    for index in of_open:
        for cpu in cpus_of(sizer.cpus[index]):
            # Several Open layers share them: the sign is that of the first.
            owner.setdefault(cpu, SIGNS[index])
    for llc, mask in sizer.cores.llc_masks.items():
        cores = [core for core in sizer.cores.all if core.cpus & mask]
        signs = ("".join(owner.get(cpu, ".") for cpu in cpus_of(core.cpus)) for core in cores)
        first, last = min(cpus_of(mask)), max(cpus_of(mask))
        yield f"  node {cores[0].node}, LLC {llc}, CPUs {first} to {last}:  {' '.join(signs)}"


def ranges(mask: int) -> str:
    """A mask as the kernel writes lists: `0-3,8`; `none` of an empty one."""
    parts: list[list[int]] = []
    for cpu in cpus_of(mask):
        if parts and parts[-1][1] == cpu - 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return ",".join(f"{a}-{b}" if a != b else str(a) for a, b in parts) or "none"


def _layer(index: int, layer: Layer, sizer: Sizer) -> Iterator[str]:
    comment = f"  ({_one_line(layer.comment)})" if layer.comment else ""
    yield f"{SIGNS[index]}  {_one_line(layer.name)}: {layer.kind}{comment}"
    yield f"   tasks:   {' or '.join(map(_ands, layer.matches))}"
    if layer.template:
        yield "   template: no cgroup matches it yet, so the layer stands for itself"
    yield f"   CPUs:    {_cpus(index, layer, sizer)}"
    yield f"   elsewhere: {_elsewhere(layer)}"
    if told := ", ".join(_told(layer.options)):
        yield f"   options: {told}"


def _ands(ands: Sequence[Match]) -> str:
    return _one_line(" and ".join(map(_match, ands))) if ands else "all that are left"


def _match(match: Match) -> str:
    name, value = match
    if name in _YES_NO:
        return _YES_NO[name][0 if value else 1]
    if name == "AvgRuntime":
        return f"average runtime is from {value[0]} to below {value[1]} us"
    if name == "NSPIDEquals":
        return f"pid is {value[1]} in the PID namespace {value[0]}"
    return _WORDS[name].format(value)


def _cpus(index: int, layer: Layer, sizer: Sizer) -> str:
    allowed = sizer.allowed(index)
    within = "" if allowed == sizer.cores.mask else f", within {ranges(allowed)}"
    if layer.is_open:
        return "those that no layer owns" + within
    least, most = layer.cpus_range(sizer.cores.nr_cpus)
    assert layer.options.util_range
    low, high = layer.options.util_range
    nr_cpus = sizer.cores.nr_cpus
    text = str(min(least, nr_cpus)) + (f" to {min(most, nr_cpus)}" if least != most else "")
    text += f"{within}; "
    text += f"so many that each is used {low * 100:g} to {high * 100:g} %"
    if least > sizer.cores.nr_cpus:
        text += f" (the file wants {least} at least: the machine has {sizer.cores.nr_cpus})"
    return text + f"; {layer.options.growth_algo} order"


def _elsewhere(layer: Layer) -> str:
    if layer.kind == "Confined":
        return "never; without CPUs of its own, on a CPU that is not protected"
    if layer.options.idle_confined:
        return "on unprotected CPUs that idle, when all of its own are busy for a while"
    if layer.open_after_ns is None:
        return "on any unprotected CPU that idles"
    after_ms = layer.open_after_ns / 1e6
    return f"on any unprotected CPU that idles, until no CPU of the machine has for {after_ms:g} ms"


def _told(options: Options) -> Iterator[str]:
    """The options that differ from the defaults and are not shown elsewhere."""
    elsewhere = ("util_range", "cpus_range", "cpus_range_frac", "growth_algo", "idle_confined",
                 "nodes", "llcs", "disallow_open_after_us")  # fmt: skip
    default = Options()
    for name in Options._fields:
        value = getattr(options, name)
        if name not in elsewhere and value != getattr(default, name):
            yield name if value is True else f"{name} {value}"
