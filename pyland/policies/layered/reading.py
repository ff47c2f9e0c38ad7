# SPDX-License-Identifier: GPL-2.0-only
"""Reads layer files. All mistakes are UsageErrors with file, line, layer, key and remedy."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

from pyland.errors import UsageError
from pyland.policies.layered import differences, schema
from pyland.policies.layered.jsontext import TEXT_MAX, Value, parse
from pyland.policies.layered.layers import Kind, Layer, Match, Options
from pyland.policies.layered.policies import read_policy
from pyland.policies.layered.regexes import translated
from pyland.policies.layered.templates import CGROUPS, expand
from pyland.policies.layered.values import WrongValueError, fail, nearest


class Config:
    """The layers of all files, in their order."""

    def __init__(self) -> None:
        """None yet."""
        self.layers: tuple[Layer, ...] = ()
        self.warnings: list[str] = []
        """What is not done as the files say, a line each."""


def read(specs: Sequence[str], cgroups: Path = CGROUPS) -> Config:
    """The layers of all specs together; each is JSON, or a path with or without `f:`.

    Templates become one layer for each cgroup below `cgroups` that they match. Raises UsageError
    for the first mistake.
    """
    config = Config()
    layers: list[Layer] = []
    for number, spec in enumerate(specs, 1):
        folder = _folder_of(spec)
        for item in _items(_parsed(spec, f"layers[{number}]")):
            layers += expand(_layer(item, config.warnings, folder), cgroups)
    config.layers = tuple(layers)
    _check_all(config.layers)
    names = [layer.name for layer in layers]
    for name in dict.fromkeys(name for name in names if names.count(name) > 1):
        config.warnings.append(f'layer "{name}": several layers have this name')
    for layer in layers:
        config.warnings += (f"{layer.place}: {_who(layer)}{w}" for w in differences.about(layer))
    return config


def split_specs(text: str) -> list[str]:
    """The specs of one text: a JSON list, or paths with commas between them."""
    if text.lstrip().startswith("["):
        return [text]
    return [part.strip() for part in text.split(",") if part.strip()]


def check_whole(specs: Sequence[str]) -> None:
    """Raise UsageError for a relative path: a policy's process has no current folder."""
    for spec in specs:
        path = _path_of(spec)
        if path is not None and not path.is_absolute():
            raise UsageError(
                f"config={spec}: give the file's whole path, such as {Path('/etc') / path.name}: "
                "the policy's process has no current folder"
            )


def _path_of(spec: str) -> Path | None:
    """The file that a spec names; None if it is JSON."""
    if spec.lstrip().startswith(("[", "{")):
        return None
    return Path(re.sub(r"^(f|file):", "", spec))


def _folder_of(spec: str) -> str:
    """Where the policies that a spec's layers name are looked for."""
    path = _path_of(spec)
    return "/" if path is None else str(path.absolute().parent)


def _who(layer: Layer) -> str:
    return f'layer "{layer.name}": '


def _parsed(spec: str, name: str) -> Value:
    path = _path_of(spec)
    if path is None:
        return parse(name, spec)
    try:
        with path.open("rb") as file:
            data = file.read(TEXT_MAX + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ValueError:  # a NUL in the path
        raise UsageError(f"{spec!r} is no path of a file") from None
    try:
        return parse(str(path), data.decode())
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is no UTF-8") from None


def _items(value: Value) -> list[Value]:
    if not isinstance(value.data, list):
        fail(value.place, "", f"here is {value.what}; a layer file is a list of layers: [{{...}}]")
    return value.data


def _layer(value: Value, told: list[str], folder: str) -> Layer:
    keys = value.data
    if not isinstance(keys, dict):
        fail(value.place, "", f'a layer is an object with "name", "matches" and "kind", '
             f"and this is {value.what}")  # fmt: skip
    name = _name(value)
    for key in keys:
        if key not in schema.LAYER_KEYS:
            hint = nearest(key, schema.LAYER_KEYS)
            if key in schema.ALL_OPTIONS:
                hint = 'it belongs into the object of the kind: "kind": {"Open": {...}}'
            fail(value.key_place(key), name, f'a layer has no key "{key}"; {hint}')
    for key in ("matches", "kind"):
        if key not in keys:
            example = {"matches": "[[]] for all tasks", "kind": '{"Open": {}}'}[key]
            fail(value.place, name, f'the key "{key}" is missing; for example {example}')
    comment, template = keys.get("comment"), keys.get("template")
    if comment and not isinstance(comment.data, str | None):
        fail(comment.place, name, f'"comment" is {comment.what}: it takes a text')
    kind, options = _kind(keys["kind"], name, told)
    return Layer(
        name=name,
        kind=kind,
        options=options,
        matches=_matches(keys["matches"], name),
        comment=comment.data if comment and isinstance(comment.data, str) else "",
        template=_template(template, name) if template and template.data is not None else None,
        place=value.place,
        policy=read_policy(value, name, folder),
    )


def _name(value: Value) -> str:
    assert isinstance(value.data, dict)
    found = value.data.get("name")
    if found is None:
        unknown = [key for key in value.data if key not in schema.LAYER_KEYS]
        near = difflib.get_close_matches("name", unknown, 1)
        hint = f'; is "{near[0]}" meant?' if near else ""
        fail(value.place, "", f'the layer has no key "name"{hint}')
    name = found.data
    if not isinstance(name, str) or not name or len(name) > schema.NAME_MAX:
        takes = f"it takes a text of 1 to {schema.NAME_MAX} characters"
        fail(found.place, "", f'"name" is {found.what}: {takes}')
    return name


def _kind(value: Value, layer: str, told: list[str]) -> tuple[Kind, Options]:
    name, inner = _only_key(value, layer, "kind", get_args(Kind), '{"Open": {}}')
    kind: Kind = name  # type: ignore[assignment]
    if not isinstance(inner.data, dict):
        fail(inner.place, layer, f'"{kind}" is {inner.what}: it takes an object of options')
    found: dict[str, Any] = {}
    known = schema.KINDS[kind]
    for key, given in inner.data.items():
        if key not in schema.ALL_OPTIONS:
            hint = nearest(key, known)
            fail(inner.key_place(key), layer, f'"{kind}" has no option "{key}"; {hint}')
        try:
            taken = schema.ALL_OPTIONS[key](given)
        except WrongValueError as error:
            fail(given.place, layer, f'"{key}" is {given.what}: {error}')
        if key in known:
            found[key] = taken
        else:
            told.append(
                f'{inner.key_place(key)}: layer "{layer}": {key} has no effect in {kind} layers'
            )
    for key in schema.NEEDED[kind]:
        if key not in found:
            fail(inner.place, layer, f'"{kind}" needs "{key}"; for example "{key}": [0.5, 0.8]')
    if found.get("cpus_range") and found.get("cpus_range_frac"):
        place = inner.key_place("cpus_range_frac")
        fail(place, layer, 'there are "cpus_range" and "cpus_range_frac": only one can be given')
    return kind, Options(**found)


def _only_key(
    value: Value, layer: str, what: str, known: Iterable[str], example: str
) -> tuple[str, Value]:
    """The one key of an object such as {"Open": {}}."""
    known = tuple(known)
    if not isinstance(value.data, dict) or not value.data:
        fail(value.place, layer, f'a "{what}" is {value.what}: it takes an object with one key, '
             f"such as {example}")  # fmt: skip
    for key in value.data:
        if key not in known:
            hint = nearest(key, known)
            fail(value.key_place(key), layer, f'there is no {what} "{key}"; {hint}')
    if len(value.data) > 1:
        first, second, *_ = value.data
        told = f'"{first}" and "{second}" are in one object'
        if what == "match":
            told += "; write an object for each: [{...}, {...}] if both have to hold"
        fail(value.key_place(second), layer, told)
    return next(iter(value.data.items()))


def _matches(value: Value, layer: str) -> tuple[tuple[Match, ...], ...]:
    ors = value.data
    if not isinstance(ors, list):
        fail(value.place, layer, f'"matches" is {value.what}: it takes a list of lists, '
             "such as [[]] or "
             '[[{"CommPrefix": "make"}]]')  # fmt: skip
    if len(ors) > schema.ORS_MAX:
        fail(value.place, layer, f"{len(ors)} alternatives; the most are {schema.ORS_MAX}")
    found = []
    for ands in ors:
        if not isinstance(ands.data, list):
            fail(ands.place, layer, f"an alternative is {ands.what}: it takes a list of matches, "
                 'such as [{"CommPrefix": "make"}]')  # fmt: skip
        matches = tuple(_match(one, layer) for one in ands.data)
        _check_together(matches, ands, layer)
        found.append(matches)
    return tuple(found)


def _match(value: Value, layer: str) -> Match:
    name, argument = _only_key(value, layer, "match", schema.MATCHES, '{"NiceAbove": 0}')
    if name in schema.GPU_MATCHES:
        what = "pyland does not see which tasks use a GPU (scx_layered's --enable-gpu-support)"
        fail(value.place, layer, f'the match "{name}" cannot be had: {what}')
    try:
        taken = schema.MATCHES[name](argument)
    except WrongValueError as error:
        fail(argument.place, layer, f'"{name}" is {argument.what}: {error}')
    if name == "CgroupRegex":
        try:
            re.compile(translated(taken))
        except WrongValueError as error:
            fail(argument.place, layer, f'"CgroupRegex" is {argument.what}: {error}')
        except (re.error, OverflowError, RecursionError) as error:
            fail(argument.place, layer, f'"CgroupRegex" is no regular expression: {error}')
    return Match(name, taken)


def _check_together(ands: tuple[Match, ...], value: Value, layer: str) -> None:
    """Check the rules about several matches in one alternative; raises UsageError."""
    names = [match.name for match in ands]
    often = [name for name in names if name in schema.OFTEN_CHANGING]
    if often and names.count("HintEquals") != 1:
        fail(value.place, layer, f'"{often[0]}" goes only with one "HintEquals"')
    for name in ("HintEquals", *schema.OFTEN_CHANGING):
        if names.count(name) > 1:
            fail(value.place, layer, f'"{name}" is there twice in one alternative')
    if "HintEquals" in names and len(names) != 1 + len(often):
        fail(value.place, layer, '"HintEquals" goes with no match but '
             f"{' and '.join(schema.OFTEN_CHANGING)}")  # fmt: skip


def _template(value: Value, layer: str) -> Match:
    match = _match(value, layer)
    if match.name not in schema.TEMPLATE_MATCHES:
        which = " or ".join(schema.TEMPLATE_MATCHES)
        fail(value.place, layer, f'a template by "{match.name}" cannot be: it takes {which}')
    return match


def _check_all(layers: Sequence[Layer]) -> None:
    """Check the rules about the layers of all files together; raises UsageError."""
    if not layers:
        raise UsageError('there is no layer; [{"name": "all", "matches": [[]], "kind": '
                         '{"Open": {}}}] is the smallest file')  # fmt: skip
    if len(layers) > schema.LAYERS_MAX:
        raise UsageError(f"there are {len(layers)} layers; the most are {schema.LAYERS_MAX}")
    *others, last = layers
    for layer in others:
        if not layer.matches:
            what = 'its "matches" is empty: no task matches; [[]] is for all tasks'
            fail(layer.place, layer.name, what)
    if last.matches != ((),):
        what = 'the last layer takes all tasks that are left: its "matches" has to be [[]]'
        fail(last.place, last.name, what)
    hints: dict[int, Layer] = {}
    regexes = set()
    for layer in layers:
        for match in (match for ands in layer.matches for match in ands):
            if match.name == "CgroupRegex":
                regexes.add(match.value)
            if match.name == "HintEquals" and hints.setdefault(match.value, layer) is not layer:
                other = hints[match.value].name
                what = f'the hint {match.value} is that of layer "{other}" already'
                fail(layer.place, layer.name, what)
    if len(regexes) > schema.REGEXES_MAX:
        raise UsageError(f"{len(regexes)} CgroupRegex; the most are {schema.REGEXES_MAX}")
