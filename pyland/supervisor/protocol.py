# SPDX-License-Identifier: GPL-2.0-only
"""The requests that the control socket takes.

One request per connection: a JSON object on a line. The answer is a JSON object on a line.

    {"command": "status"}
    {"command": "swap", "policy": SPEC, "options": ["name=value", ...], "folder": "/..."}
    {"command": "swap", "layer": NAME, "policy": SPEC, "options": [...], "folder": "/..."}
    {"command": "swap", "reload": true}

The answer has "ok": true and what was asked for, or "ok": false and an "error".
"""

from __future__ import annotations

import json
import os
from typing import Any, NamedTuple

from pyland.loading.wanted import Wanted


class StatusRequest(NamedTuple):
    """Asks for the state that `pyland status` shows."""


class SwapRequest(NamedTuple):
    """Asks for the policy `wanted`; with None, the same policy is imported again."""

    wanted: Wanted | None = None
    layer: str = ""
    """The part of the present policy that it is for; empty: for the whole machine."""


def parse_request(line: bytes) -> StatusRequest | SwapRequest:
    """The request in a line; raises ValueError that says what is wrong, and nothing else."""
    try:
        return _request(line)
    except RecursionError:
        raise ValueError("the request is nested too deeply") from None


def _request(line: bytes) -> StatusRequest | SwapRequest:
    try:
        found = json.loads(line.decode())
    except UnicodeDecodeError:
        raise ValueError("the request is no UTF-8") from None
    except ValueError:
        raise ValueError("the request is no JSON") from None
    if not isinstance(found, dict):
        raise ValueError("the request is no JSON object")
    command = found.pop("command", None)
    if command == "status":
        _no_more(found)
        return StatusRequest()
    if command == "swap":
        return _swap_request(found)
    raise ValueError(f"there is no command {_shown(command)}: it takes status or swap")


def _swap_request(found: dict[str, Any]) -> SwapRequest:
    reload = found.pop("reload", False)
    if not isinstance(reload, bool):
        raise ValueError(f"reload is {_shown(reload)}: it takes true or false")
    if reload:
        _no_more(found)
        return SwapRequest()
    policy = found.pop("policy", None)
    options = found.pop("options", [])
    folder = found.pop("folder", None)
    layer = found.pop("layer", "")
    _no_more(found)
    if not isinstance(layer, str):
        raise ValueError(f"layer is {_shown(layer)}: it takes the name of one")
    if not isinstance(policy, str) or not policy:
        raise ValueError(f"policy is {_shown(policy)}: it takes the name of one")
    if not isinstance(options, list) or not all(isinstance(one, str) for one in options):
        raise ValueError(f"options is {_shown(options)}: it takes a list of name=value texts")
    if not isinstance(folder, str) or not folder.startswith("/") or not _can_be_a_path(folder):
        raise ValueError(f"folder is {_shown(folder)}: it takes an absolute path")
    return SwapRequest(Wanted(policy, tuple(options), folder), layer)


def _no_more(found: dict[str, Any]) -> None:
    for name in found:
        raise ValueError(f"the request has a {_shown(name)} that means nothing there")


def _can_be_a_path(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
