# SPDX-License-Identifier: GPL-2.0-only
"""Which layer a task belongs to."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pyland.policies.layered.facts import Facts
from pyland.policies.layered.layers import Layer, Match
from pyland.policies.layered.regexes import translated

Test = Callable[[Facts], bool]

CHANGES_BY_ITSELF = frozenset(("AvgRuntime", "SystemCpuUtilBelow"))
"""Matches whose answer may change although the task does not."""


class Matcher:
    """Finds the first layer that a task matches. The tests are made once."""

    def __init__(self, layers: Sequence[Layer], node_masks: Mapping[int, int]) -> None:
        """`node_masks` has the CPUs of each NUMA node."""
        self._last = len(layers) - 1
        self._layers = [
            [[_test(match, node_masks) for match in ands] for ands in layer.matches]
            for layer in layers
        ]
        names = {match.name for layer in layers for ands in layer.matches for match in ands}
        self.names = frozenset(names)
        """The names of all matches that the layers have."""
        self.changes_by_itself = bool(names & CHANGES_BY_ITSELF)
        """True if the answer can change without a change of the task."""

    def layer_of(self, facts: Facts) -> int:
        """The number of the task's layer. The last layer takes all tasks that no layer matches."""
        for number, ors in enumerate(self._layers):
            if any(all(test(facts) for test in ands) for ands in ors):
                return number
        return self._last


def _test(match: Match, node_masks: Mapping[int, int]) -> Test:
    make = _TESTS.get(match.name)
    if make:
        return make(match.value)
    if match.name == "NumaNode":
        return _in_node(node_masks.get(match.value, 0))
    raise AssertionError(f"no test for {match.name}")


def _in_node(mask: int) -> Test:
    def test(facts: Facts) -> bool:
        allowed = facts.source.allowed_cpus(facts.pid)
        return allowed is not None and not allowed & ~mask

    return test


def _about_text(known: Callable[[Facts], str | None], holds: Callable[[str, str], bool]) -> Any:
    """Tests of a text that may be unknown: then no match holds, and no negation either."""

    def make(wanted: str) -> Test:
        def test(facts: Facts) -> bool:
            text = known(facts)
            return text is not None and holds(text, wanted)

        return test

    return make


def _regex(pattern: str) -> Test:
    search = re.compile(translated(pattern)).search

    def test(facts: Facts) -> bool:
        path = facts.cgroup_path
        # scx_layered's patterns see the whole path, without the last slash.
        return path is not None and bool(search(f"/sys/fs/cgroup/{path}".rstrip("/")))

    return test


def _average(bounds_us: tuple[int, int]) -> Test:
    least_us, most_us = bounds_us
    return lambda facts: least_us <= facts.average_runtime_ns // 1000 < most_us


def _comm(facts: Facts) -> str | None:
    return facts.comm


def _leader(facts: Facts) -> str | None:
    return facts.leader_comm


def _path(facts: Facts) -> str | None:
    return facts.cgroup_path


def _prefix(text: str, wanted: str) -> bool:
    return text.startswith(wanted)


def _no_prefix(text: str, wanted: str) -> bool:
    return not text.startswith(wanted)


_TESTS: dict[str, Callable[[Any], Test]] = {
    "CgroupPrefix": _about_text(_path, _prefix),
    "CgroupSuffix": _about_text(_path, str.endswith),
    "CgroupContains": _about_text(_path, str.__contains__),
    "CgroupRegex": _regex,
    "CommPrefix": _about_text(_comm, _prefix),
    "CommPrefixExclude": _about_text(_comm, _no_prefix),
    "PcommPrefix": _about_text(_leader, _prefix),
    "PcommPrefixExclude": _about_text(_leader, _no_prefix),
    "NiceAbove": lambda value: lambda facts: facts.nice > value,
    "NiceBelow": lambda value: lambda facts: facts.nice < value,
    "NiceEquals": lambda value: lambda facts: facts.nice == value,
    "UIDEquals": lambda value: lambda facts: facts.uid == value,
    "GIDEquals": lambda value: lambda facts: facts.gid == value,
    "PIDEquals": lambda value: lambda facts: facts.pid == value,
    "PPIDEquals": lambda value: lambda facts: facts.ppid == value,
    "TGIDEquals": lambda value: lambda facts: facts.tgid == value,
    "NSPIDEquals": lambda value: lambda facts: (facts.namespace, facts.namespace_pid) == value,
    "NSEquals": lambda value: lambda facts: facts.namespace == value,
    "CmdJoin": lambda value: lambda facts: facts.joined != "" and facts.joined.startswith(value),
    "IsGroupLeader": lambda value: lambda facts: facts.is_leader == value,
    "IsKthread": lambda value: lambda facts: facts.is_kthread == value,
    "AvgRuntime": _average,
    "HintEquals": lambda value: lambda facts: facts.hint == value,
    "SystemCpuUtilBelow": lambda value: lambda facts: facts.machine_util < value,
    # pyland does not count how many tasks are queued, so a layer takes no task by this match.
    "DsqInsertBelow": lambda value: lambda facts: False,
}
