# SPDX-License-Identifier: GPL-2.0-only
"""The policies that layers name, and the names of their parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pyland.errors import UsageError
from pyland.loading.finder import choose
from pyland.policies.layered.layers import Layer, LayerPolicy
from pyland.policies.layered.values import fail, nearest
from pyland.policy import Policy

_NAME_MAX = 22


def found(layer: Layer, policy: LayerPolicy) -> type[Policy]:
    """The class of a layer's policy; raises UsageError with file, layer, key and remedy.

    It runs the policy's module, so never with root's rights.
    """
    try:
        chosen = choose(policy.spec, folder=Path(policy.folder)).policy
    except UsageError as error:
        told = str(error).removeprefix(f"--policy {policy.spec}: ")
        fail(policy.place, layer.name, f'"policy" is "{policy.spec}": {told}')
    if chosen.uses_numpy:
        told = "it reads arrays of all tasks, and that of a layer cannot"
        fail(policy.place, layer.name, f'"policy" is "{policy.spec}": {told}')
    for name, value in policy.options.items():
        if name not in chosen.options:
            hint = nearest(name, chosen.options) if chosen.options else "it has none"
            told = f'policy {chosen.name} has no option "{name}"; {hint}'
            fail(policy.option_places[name], layer.name, told)
        try:
            chosen.options[name].check(value)
        except ValueError as error:
            fail(policy.option_places[name], layer.name, str(error))
    return chosen


def told(layer: Layer, policy: LayerPolicy) -> str:
    """The policy of a layer in words; raises UsageError as `found`."""
    options = ", ".join(f"{name} {value}" for name, value in policy.options.items())
    name = found(layer, policy).name
    where = "" if policy.spec == name else f" ({policy.spec})"
    return f"{name}{where}" + (f": {options}" if options else "")


def part_names(layers: Sequence[Layer]) -> list[str]:
    """A name for each layer as that of a part: a to z, digits and _, each once."""
    names: list[str] = []
    for index, layer in enumerate(layers):
        plain = re.sub(r"[^a-z0-9]+", "_", layer.name.lower()).strip("_")[:_NAME_MAX].strip("_")
        if not plain[:1].isalpha() or plain == OWN or plain in names:
            plain = f"l{index}_{plain}".rstrip("_")
        names.append(plain)
    return names


OWN = "layered"
"""The part of all layers that name no policy."""
