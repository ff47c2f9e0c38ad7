# SPDX-License-Identifier: GPL-2.0-only
"""The messages that the worker sends to the supervisor.

The supervisor is root and the worker runs policy code, so a message is not trusted. Each message
is checked against its class before it is used. If a message says something about the kernel, the
supervisor asks the kernel itself.
"""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, get_args

from pyland.output import telling
from pyland.output.printing import block, escape

MESSAGE_MAX = 60_000
"""The most bytes of a worker's message; longer texts are cut."""
_TEXT_MAX = 8_000
_OPTIONS_MAX = 100
_OPTION_MAX = 1_000

Options = dict[str, str | int | float | bool]
"""A policy's options by name."""


class Ready(NamedTuple):
    """The policy is constructed and the memory locked: the scheduler can be attached.

    The answer to the rings with the number `order`. `confined` is False if the kernel has no filter
    for system calls.
    """

    order: str
    policy: str
    options: Options
    confined: bool


class Refused(NamedTuple):
    """The wanted policy cannot be imported or constructed; no scheduler is attached."""

    error: str


class Broken(NamedTuple):
    """The worker itself failed and ends."""

    error: str


class Failure(NamedTuple):
    """The policy failed; sent once for each place and kind of exception."""

    policy: str
    report: str


class Replaced(NamedTuple):
    """`policy` schedules instead of the policy `failed`; `why` is the reason."""

    failed: str
    why: str
    policy: str
    options: Options


class PartReplaced(NamedTuple):
    """`policy` decides in a part of a composed policy, instead of the policy `failed`."""

    part: str
    failed: str
    why: str
    policy: str


class Swapped(NamedTuple):
    """The swap is done that had this number in its `SwapOrder`."""

    order: str
    previous: str
    policy: str
    options: Options
    pause_us: int


class SwapRefused(NamedTuple):
    """The swap with this number is not done, and nothing has changed."""

    order: str
    error: str


class Stopped(NamedTuple):
    """The loop has ended; `how` is the name of a `pyland.engine.loop.Stop`."""

    how: str


class GaveUp(NamedTuple):
    """A failure of the policy ended the loop, because of `--strict`."""

    policy: str


class Edited(NamedTuple):
    """A file of the policy was changed after the policy was loaded."""

    policy: str
    file: str


WorkerMessage = (
    Ready
    | Refused
    | Broken
    | Failure
    | Replaced
    | PartReplaced
    | Swapped
    | SwapRefused
    | Stopped
    | GaveUp
    | Edited
)

_KINDS: dict[str, type[WorkerMessage]] = {one.__name__: one for one in get_args(WorkerMessage)}


def encode(message: WorkerMessage) -> bytes:
    """The message as bytes; texts are cut so that it has at most `MESSAGE_MAX` bytes."""
    values = {name: _cut(getattr(message, name)) for name in message._fields}
    values["kind"] = type(message).__name__
    text = json.dumps(values)
    if len(text) > MESSAGE_MAX:
        text = json.dumps({name: {} if isinstance(v, dict) else v for name, v in values.items()})
    return text.encode()


def _cut(value: object) -> object:
    if isinstance(value, str):
        return value[:_TEXT_MAX]
    if isinstance(value, dict):
        return {str(k)[:_OPTION_MAX]: _option(v) for k, v in [*value.items()][:_OPTIONS_MAX]}
    return value


def _option(value: object) -> str | int | float | bool:
    found = telling.plain(value)
    if type(found) is bool or type(found) is int or type(found) is float:
        return found
    text = found if type(found) is str else telling.told(lambda: repr(value), "its repr()")
    return text[:_OPTION_MAX]


def decode(data: bytes) -> WorkerMessage:
    """The message in these bytes; raises ValueError if they are no valid message."""
    try:
        found = json.loads(data)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    name = found.pop("kind", None)
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise ValueError("no kind of message")
    if found.keys() != set(kind._fields):
        raise ValueError(f"not the fields of {kind.__name__}")
    for field, type_ in kind.__annotations__.items():
        if not _fits(found[field], type_):
            raise ValueError(f"{field} of {kind.__name__} is of another type, or too long")
    return kind(**found)


def _fits(value: object, type_: Any) -> bool:
    if type_ is bool or type_ is str:
        return isinstance(value, type_) and (type_ is bool or len(str(value)) <= _TEXT_MAX)
    if type_ is int:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return (
        isinstance(value, Mapping)
        and len(value) <= _OPTIONS_MAX
        and all(_fits_option(name) and _fits_option(one) for name, one in value.items())
    )


def _fits_option(value: object) -> bool:
    if isinstance(value, str):
        return len(value) <= _OPTION_MAX
    return isinstance(value, float) or (isinstance(value, int) and abs(value) <= 2**64)


def told(message: Failure | Replaced | PartReplaced | Edited, policy: str) -> str:
    """The message for the user, safe for a terminal; `policy` is the name of the one that runs."""
    match message:
        case Failure():
            return f"pyland: policy {escape(message.policy)}: {block(message.report)}"
        case Edited():
            return (
                f"pyland: policy {escape(message.policy)}: {escape(message.file)} is not what it "
                "was; what was loaded goes on (`pyland swap --reload` takes the file)"
            )
    replaced = f"{escape(message.failed)} {escape(message.why)}: going on with"
    if isinstance(message, Replaced):
        return f"pyland: policy {replaced} {policy}"
    part = escape(message.part)
    return f"pyland: policy {policy}, part {part}: {replaced} {escape(message.policy)} there"
