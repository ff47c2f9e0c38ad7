# SPDX-License-Identifier: GPL-2.0-only
"""The policies that layers name, and the names of their parts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pyland.errors import UsageError
from pyland.loading.finder import choose
from pyland.policies.layered.jsontext import Value
from pyland.policies.layered.layers import Layer, LayerPolicy
from pyland.policies.layered.schema import SPEC_MAX
from pyland.policies.layered.values import fail, nearest
from pyland.policy import Policy

_NAME_MAX = 22


def read_policy(value: Value, layer: str, folder: str) -> LayerPolicy | None:
    """The policy that a layer (an object of the file) names; it is not looked for yet."""
    assert isinstance(value.data, dict)
    policy, options = value.data.get("policy"), value.data.get("options")
    if policy is None:
        if options is not None:
            fail(value.key_place("options"), layer, '"options" are those of "policy", and there is '
                 'none; options of the layer belong into the object of its kind')  # fmt: skip
        return None
    spec = policy.data
    if not isinstance(spec, str) or not spec.isprintable() or not 0 < len(spec) <= SPEC_MAX:
        takes = 'it takes the name of a policy, "module:Class" or "./file.py:Class"'
        fail(policy.place, layer, f'"policy" is {policy.what}: {takes}')
    given, places = {}, {}
    if options is not None:
        if not isinstance(options.data, dict):
            fail(options.place, layer, f'"options" is {options.what}: it takes an object of the '
                 'options of the policy, such as {"slice_us": 5000}')  # fmt: skip
        for key, one in options.data.items():
            if not isinstance(one.data, bool | int | float | str):
                takes = "it takes a number, a text, true or false"
                fail(one.place, layer, f'"{key}" is {one.what}: {takes}')
            given[key], places[key] = one.data, options.key_place(key)
    return LayerPolicy(
        spec=spec, options=given, folder=folder, place=policy.place, option_places=places
    )


def found(layer: Layer, policy: LayerPolicy) -> type[Policy]:
    """The class of a layer's policy; raises UsageError with file, layer, key and remedy.

    This runs code of the policy's module: never call it with root's rights.
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
