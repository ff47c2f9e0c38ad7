# SPDX-License-Identifier: GPL-2.0-only
"""Makes one layer for each cgroup that a template matches."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pyland.policies.layered.layers import Layer, Match
from pyland.policies.layered.regexes import translated
from pyland.topology import parse_cpu_list

CGROUPS = Path("/sys/fs/cgroup")
_SUFFIX_MAX = 64
"""How much of a cgroup's path its layer's name and match have."""


def cgroups_below(root: Path = CGROUPS) -> Iterator[tuple[int, str]]:
    """The id and the path of all cgroups but the root; a path is as `a/b/`.

    It costs about 17 us for each cgroup.
    """
    pending = [("", str(root))]
    while pending:
        path, folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                found = sorted(
                    (entry.name, entry.inode())
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                )
        except OSError:  # removed meanwhile
            continue
        for name, inode in found:
            yield inode, f"{path}{name}/"
            pending.append((f"{path}{name}/", f"{folder}/{name}"))


def expand(layer: Layer, root: Path = CGROUPS) -> list[Layer]:
    """The layers of a template; the layer alone if it is no template or no cgroup matches it."""
    if layer.template is None:
        return [layer]
    paths = sorted(path for _, path in cgroups_below(root) if _fits(layer.template, path))
    return [_of_cgroup(layer, path, root) for path in paths] or [layer]


def _fits(template: Match, path: str) -> bool:
    if template.name == "CgroupSuffix":
        # scx_layered compares paths without their last slash, so that a suffix such as its
        # example's `common_suffix/` never matches. Its documentation means both forms.
        return path.endswith(template.value) or path[:-1].endswith(template.value)
    return bool(re.search(translated(template.value), f"{CGROUPS}/{path[:-1]}"))


def _of_cgroup(layer: Layer, path: str, root: Path) -> Layer:
    suffix = path[-_SUFFIX_MAX:]
    match = Match("CgroupSuffix", suffix)
    try:
        text = (root / path / "cpuset.cpus.effective").read_text(encoding="ascii")
        cpuset = sum(1 << cpu for cpu in parse_cpu_list(text)) or None
    except (OSError, ValueError):  # the controller is off
        cpuset = None
    return layer._replace(
        name=layer.name + suffix,
        matches=tuple((*ands, match) for ands in layer.matches),
        template=None,
        cpuset=cpuset,
    )


def cpusets(root: Path = CGROUPS) -> list[int]:
    """The masks of the CPU sets that cgroups have, each once."""
    masks = set()
    for _, path in cgroups_below(root):
        try:
            text = (root / path / "cpuset.cpus.effective").read_text(encoding="ascii")
            masks.add(sum(1 << cpu for cpu in parse_cpu_list(text)))
        except (OSError, ValueError):
            continue
    return sorted(masks)
