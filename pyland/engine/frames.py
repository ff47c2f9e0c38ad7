# SPDX-License-Identifier: GPL-2.0-only
"""Finds where in a policy an exception was raised, without running code of the policy."""

from __future__ import annotations

import linecache
import os
import stat
from collections import deque
from collections.abc import Iterator
from types import CodeType, TracebackType
from typing import NamedTuple

from pyland import compose
from pyland.engine.loop import DispatchLoop
from pyland.output import telling

TRANSPORT: frozenset[CodeType] = frozenset(
    method.__code__
    for method in (
        *(DispatchLoop.run, DispatchLoop._rows, DispatchLoop._place, DispatchLoop._tell),
        *compose.TRANSPORT,
    )
)
"""The code that calls the policy, and that of a composed policy that calls its parts."""

_FIRST, _LAST = 4, 8
"""How many of the first and last calls are kept; the calls between them are only counted."""
_LINE_MAX = 200
_FILE_MAX = 1 << 22


class Call(NamedTuple):
    """A function on the stack, and the line that it had reached."""

    file: str
    line: int
    name: str


class Calls(NamedTuple):
    """The calls from the policy's method to the function that raised."""

    first: tuple[Call, ...]
    omitted: int
    last: tuple[Call, ...]

    @property
    def method(self) -> str:
        """The policy's method; empty when the loop itself raised."""
        return self.first[0].name if self.first else ""

    @property
    def place(self) -> tuple[str, int]:
        """File and line where the exception was raised."""
        calls = self.last or self.first
        return (calls[-1].file, calls[-1].line) if calls else ("?", 0)

    def lines(self) -> Iterator[str]:
        """The calls as lines of a traceback, as Python prints them."""
        for call in self.first:
            yield from _shown(call)
        if self.omitted:
            yield f"  ... {self.omitted} more calls"
        for call in self.last:
            yield from _shown(call)


def policy_calls(error: BaseException) -> Calls:
    """The calls that led to an exception; at most 12, as a policy may recurse a million times."""
    first: list[TracebackType] = []
    last: deque[TracebackType] = deque(maxlen=_LAST)
    more = 0
    at = telling.traceback_of(error)
    while at is not None:
        if at.tb_frame.f_code in TRANSPORT:
            first, more = [], 0
            last.clear()
        elif len(first) < _FIRST:
            first.append(at)
        else:
            last.append(at)
            more += 1
        at = at.tb_next
    calls = [_call(one) for one in first]
    # The default decide() only calls enqueue(): leave it out.
    if len(calls) > 1 and calls[0].file.endswith("pyland/policy.py"):
        del calls[0]
    return Calls(tuple(calls), more - len(last), tuple(map(_call, last)))


def _call(at: TracebackType) -> Call:
    code = at.tb_frame.f_code
    return Call(telling.exact(code.co_filename), at.tb_lineno or 0, telling.exact(code.co_name))


def _shown(call: Call) -> Iterator[str]:
    yield f'  File "{call.file}", line {call.line}, in {call.name}'
    if source := telling.attempt(lambda: _source(call), ""):
        yield f"    {source[:_LINE_MAX]}"


def _source(call: Call) -> str:
    # The policy can choose the file's name: reading a pipe or a device might never end.
    found = os.stat(call.file)
    if not stat.S_ISREG(found.st_mode) or found.st_size > _FILE_MAX:
        return ""
    return linecache.getline(call.file, call.line).strip()
