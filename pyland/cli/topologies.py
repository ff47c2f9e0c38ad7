# SPDX-License-Identifier: GPL-2.0-only
"""Topologies by a user's words: this machine's, one of numbers, or a copy of one's sysfs."""

from __future__ import annotations

from pathlib import Path

from pyland.errors import UsageError
from pyland.testing.layout import make_topology
from pyland.topology import Topology, read_topology

_NUMBERS = ("nodes", "llcs", "cores", "threads")
_EACH_MAX = 1024
_CPUS_MAX = 8192


def machine_of(text: str | None) -> Topology:
    """The topology that a user's text means; without one, that of this machine.

    Raises UsageError.
    """
    if text is None:
        return read_topology()
    if "=" not in text:
        folder = Path(text)
        if not (folder / "cpu" / "possible").is_file():
            raise UsageError(
                f"--topology {text}: it takes numbers such as llcs=2,cores=4, or a folder such as "
                "/sys/devices/system with a file cpu/possible"
            )
        try:
            return read_topology(folder)
        except ValueError:
            raise UsageError(
                f"--topology {text}: its files are not those of a /sys/devices/system"
            ) from None
    numbers = dict.fromkeys(_NUMBERS, 1)
    for part in text.split(","):
        name, _, value = part.partition("=")
        if name not in numbers:
            there = ", ".join(_NUMBERS)
            raise UsageError(f"--topology {text}: there is no {name!r}; there are {there}")
        if not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= _EACH_MAX:
            raise UsageError(f"--topology {text}: {name} takes a number from 1 to {_EACH_MAX}")
        numbers[name] = int(value)
    nodes, llcs, cores, threads = numbers.values()
    cpus = nodes * llcs * cores * threads
    if cpus > _CPUS_MAX:
        raise UsageError(f"--topology {text}: {cpus} CPUs; the most are {_CPUS_MAX}")
    return make_topology(cpus, nodes=nodes, llcs=llcs, threads=threads)
