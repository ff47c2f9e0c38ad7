# SPDX-License-Identifier: GPL-2.0-only
"""`pyland layered`: write an example of a layer file, or say what a layer file means here."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pyland.cli.parser import Parser, as_policies_run
from pyland.cli.topologies import machine_of
from pyland.cpumask import mask_of
from pyland.errors import UsageError
from pyland.loading.caller import rights_of_caller
from pyland.output.printing import as_json, escape, say, show
from pyland.policies.layered.clockwork import cpusets_for
from pyland.policies.layered.example import EXAMPLE
from pyland.policies.layered.layers import Layer
from pyland.policies.layered.machines import about_cores, check_machine
from pyland.policies.layered.policies import told
from pyland.policies.layered.reading import read
from pyland.policies.layered.showing import ranges, shown
from pyland.topology import Topology


def build_parser() -> Parser:
    """The parser of the command line."""
    parser = Parser(
        prog="pyland layered",
        description="Layer files are those of scx_layered. To schedule with one: "
        "pyland --policy layered --policy-opt config=FILE",
        allow_abbrev=False,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--example", metavar="FILE", help="write an example to a new file")
    what.add_argument(
        "--check",
        metavar="FILE",
        nargs="+",
        help="say what each layer of these files together would be; a FILE can be JSON, too",
    )
    parser.add_argument(
        "--topology",
        metavar="T",
        help="on another machine: nodes=1,llcs=2,cores=4,threads=2 (cores of each LLC), "
        "or a copy of a machine's /sys/devices/system",
    )
    parser.add_argument(
        "--allow-partial-core",
        action="store_true",
        help="let layers share the SMT siblings of a core",
    )
    return parser


def command(arguments: Sequence[str]) -> int:
    """Write or check; returns the exit code."""
    options = build_parser().parse_args(arguments)
    if options.example:
        _write(Path(options.example))
        return 0
    topology = machine_of(options.topology)
    with rights_of_caller():
        config = read(options.check)
        cpusets = cpusets_for(config.layers)
    if options.topology:
        # The cgroups of another machine are not known, so their CPUs are not known either.
        cpusets = []
        config.layers = tuple(one._replace(cpuset=None) for one in config.layers)
    check_machine(config.layers, topology)
    policies: dict[str, str] = {}
    if any(layer.policy for layer in config.layers):
        policies = json.loads(as_policies_run(lambda: _policies(config.layers)))
    config.warnings += about_cores(config.layers, partial=options.allow_partial_core)
    if not options.topology:
        config.warnings += _about_cpuset(topology)
    for warning in config.warnings:
        say(f"pyland: warning: {escape(warning)}", "stderr")
    text = shown(
        config,
        topology,
        partial=options.allow_partial_core,
        cpusets=cpusets,
        policies={int(index): told for index, told in policies.items()},
    )
    show("\n".join(map(escape, text.split("\n"))))
    return 0


def _about_cpuset(topology: Topology) -> Iterator[str]:
    """A warning if this process may not use all CPUs: its cgroup's tasks may not either."""
    mine = os.sched_getaffinity(0)
    if left := [cpu for cpu in topology.online if cpu not in mine]:
        yield (
            f"the layers are those of all {len(topology.cpus)} CPUs, and this process (by its "
            f"affinity, or by the CPU set of its cgroup) may not use {ranges(mask_of(left))}: a "
            "task that its layer's CPUs are closed to goes by its affinity"
        )


def _policies(layers: Sequence[Layer]) -> str:
    """What is told of the policies that layers name: JSON, by the layers' numbers."""
    return as_json({str(n): told(one, one.policy) for n, one in enumerate(layers) if one.policy})


def _write(path: Path) -> None:
    try:
        with rights_of_caller(), path.open("x", encoding="utf-8") as file:
            file.write(EXAMPLE)
    except FileExistsError:
        raise UsageError(f"--example {path}: it is there already, and stays as it is") from None
    except OSError as error:
        raise UsageError(f"--example {path}: {error.strerror}") from None
