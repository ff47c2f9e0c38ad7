# SPDX-License-Identifier: GPL-2.0-only
"""Takes values of the file's types out of parsed JSON, or says what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from typing import Any, NoReturn

from pyland.errors import UsageError
from pyland.policies.layered.jsontext import Value

Take = Callable[[Value], Any]
"""A function that returns the value in Python's types, or raises WrongValueError."""

U32_MAX, U64_MAX = (1 << 32) - 1, (1 << 64) - 1


class WrongValueError(Exception):
    """The message says what it takes: `it takes a whole number from 0 on`."""


def fail(place: str, layer: str, what: str) -> NoReturn:
    """Raise the UsageError `file:line:column: layer "name": what`."""
    named = f'layer "{layer}": ' if layer else ""
    raise UsageError(f"{place}: {named}{what}")


def nearest(name: str, known: Collection[str]) -> str:
    """`did you mean "x"?` for a name near one of `known`, else all of them."""
    lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), lower, 1)
    if near:
        return f'did you mean "{lower[near[0]]}"?'
    return f"there are {', '.join(known)}"


def a_bool(value: Value) -> bool:
    """True or false."""
    if not isinstance(value.data, bool):
        raise WrongValueError("it takes true or false")
    return value.data


def whole(least: int = 0, most: int = U64_MAX) -> Take:
    """A whole number in this range."""
    if most >= U32_MAX:
        takes = "it takes a whole number" + (f" from {least} on" if least > -(1 << 31) else "")
    else:
        takes = f"it takes a whole number from {least} to {most}"

    def take(value: Value) -> int:
        data = value.data
        if isinstance(data, bool) or not isinstance(data, int) or not least <= data <= most:
            raise WrongValueError(takes)
        return data

    return take


def real(least: float = 0.0, most: float = float("inf")) -> Take:
    """A number in this range."""
    takes = f"it takes a number from {least:g} " + ("on" if most > 1e300 else f"to {most:g}")

    def take(value: Value) -> float:
        data = value.data
        if isinstance(data, bool) or not isinstance(data, int | float) or not least <= data <= most:
            raise WrongValueError(takes)
        return float(data)

    return take


def text(most: int) -> Take:
    """A text of at most this many bytes."""

    def take(value: Value) -> str:
        data = value.data
        if not isinstance(data, str):
            raise WrongValueError('it takes a text in ""')
        if len(data.encode(errors="replace")) > most:
            raise WrongValueError(f"it takes a text of at most {most} bytes")
        return data

    return take


def one_of(known: Collection[str]) -> Take:
    """One of these words."""

    def take(value: Value) -> str:
        data = value.data
        if not isinstance(data, str):
            raise WrongValueError(f"it takes one of {', '.join(known)}, in quotes")
        if data not in known:
            raise WrongValueError(nearest(data, known))
        return data

    return take


def pair(first: Take, second: Take, example: str) -> Take:
    """A list of two values; `example` is a right one."""

    def take(value: Value) -> tuple[Any, Any]:
        data = value.data
        if not isinstance(data, list) or len(data) != 2:
            raise WrongValueError(f"it takes a list of two numbers, such as {example}")
        try:
            return first(data[0]), second(data[1])
        except WrongValueError as error:
            raise WrongValueError(f"of each of the two numbers: {error}") from None

    return take


def ordered(of: Take, *, equal: bool) -> Take:
    """A pair whose first value is not above its second; below it unless `equal`."""

    def take(value: Value) -> tuple[Any, Any]:
        low, high = of(value)
        if low > high or (low == high and not equal):
            raise WrongValueError(f"the first, {low:g}, has to be lower than the second, {high:g}")
        return low, high

    return take


def many(of: Take) -> Take:
    """A list of such values."""

    def take(value: Value) -> tuple[Any, ...]:
        if not isinstance(value.data, list):
            raise WrongValueError("it takes a list, such as [0, 1]")
        return tuple(of(item) for item in value.data)

    return take


def maybe(of: Take) -> Take:
    """Such a value, or null."""

    def take(value: Value) -> Any:
        return None if value.data is None else of(value)

    return take
