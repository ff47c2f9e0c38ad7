# SPDX-License-Identifier: GPL-2.0-only
"""JSON that knows where each value and each key stands, for messages like a compiler's."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple, NoReturn

from pyland.errors import UsageError

Scalar = str | int | float | bool | None

TEXT_MAX = 1 << 20
"""The most characters of a text."""
_DEPTH_MAX = 50
_SPACE = re.compile(r"[ \t\r\n]*")
_SCALAR = re.compile(r'"|-?[0-9]|(?:true|false|null)\b')


class Text(NamedTuple):
    """A JSON text, and the name of where it comes from."""

    name: str
    text: str

    def place(self, at: int) -> str:
        """`name:line:column` of a position, both counted from 1."""
        line = self.text.count("\n", 0, at) + 1
        return f"{self.name}:{line}:{at - (self.text.rfind(chr(10), 0, at) + 1) + 1}"


class Value(NamedTuple):
    """One value and its place."""

    data: Scalar | list[Value] | dict[str, Value]
    text: Text
    at: int
    keys_at: Mapping[str, int] = MappingProxyType({})
    """For an object: the position of each of its keys."""

    @property
    def place(self) -> str:
        """`name:line:column` of the value."""
        return self.text.place(self.at)

    def key_place(self, key: str) -> str:
        """`name:line:column` of a key of this object."""
        return self.text.place(self.keys_at[key])

    @property
    def what(self) -> str:
        """What it is, for messages: `a text`, `3`, `a list`."""
        if isinstance(self.data, dict):
            return "an object"
        if isinstance(self.data, list):
            return f"a list of {len(self.data)}" if self.data else "an empty list"
        return json.dumps(self.data)[:60]


def parse(name: str, text: str) -> Value:
    """The value of a text; raises UsageError with the place of what is wrong."""
    if len(text) > TEXT_MAX:
        raise UsageError(f"{name}: more than {TEXT_MAX} characters, which is no layer file")
    source = Text(name, text)
    value, at = _Parser(source).value(_skip(text, 0), 0)
    at = _skip(text, at)
    if at < len(text):
        _fail(source, at, "there is more after the end of the list")
    return value


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found
    return found.end()


def _fail(text: Text, at: int, what: str) -> NoReturn:
    raise UsageError(f"{text.place(at)}: no JSON: {what}")


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


class _Parser:
    def __init__(self, text: Text) -> None:
        self._source, self._text = text, text.text
        self._decoder = json.JSONDecoder(parse_constant=_no_constant)

    def value(self, at: int, depth: int) -> tuple[Value, int]:
        """The value that begins here, and where it ends."""
        first = self._text[at : at + 1]
        if depth > _DEPTH_MAX:
            _fail(self._source, at, "too many lists within lists")
        if first == "{":
            return self._object(at, depth)
        if first == "[":
            return self._list(at, depth)
        if not first:
            _fail(self._source, at, "it ends here, where a value is missing")
        if self._text.startswith(("//", "#", "/*"), at):
            _fail(self._source, at, 'it takes no comments; a layer has a key "comment"')
        if not _SCALAR.match(self._text, at):
            _fail(self._source, at, f"{self._word(at)!r} is no value")
        try:
            data, end = self._decoder.raw_decode(self._text, at)
        except json.JSONDecodeError as error:
            _fail(self._source, error.pos, error.msg)
        except ValueError:  # a number of more digits than Python takes
            _fail(self._source, at, "this number is too long")
        return Value(data, self._source, at), end

    def _word(self, at: int) -> str:
        found = re.match(r"\w+|.", self._text[at : at + 40], re.DOTALL)
        return found[0] if found else ""

    def _list(self, begin: int, depth: int) -> tuple[Value, int]:
        items: list[Value] = []
        at = _skip(self._text, begin + 1)
        while not self._ends(at, "]", bool(items)):
            item, at = self.value(at, depth + 1)
            items.append(item)
            at = self._comma(at, "]", begin)
        return Value(items, self._source, begin), at + 1

    def _object(self, begin: int, depth: int) -> tuple[Value, int]:
        items: dict[str, Value] = {}
        keys_at: dict[str, int] = {}
        at = _skip(self._text, begin + 1)
        while not self._ends(at, "}", bool(items)):
            key_at = at
            if self._text[at : at + 1] != '"':
                _fail(self._source, at, 'a key in "" is missing here')
            key, at = self.value(at, depth)
            assert isinstance(key.data, str)
            at = _skip(self._text, at)
            if self._text[at : at + 1] != ":":
                _fail(self._source, at, f'a ":" is missing after the key "{key.data}"')
            if key.data in items:
                _fail(self._source, key_at, f'the key "{key.data}" is there twice')
            items[key.data], at = self.value(_skip(self._text, at + 1), depth + 1)
            keys_at[key.data] = key_at
            at = self._comma(at, "}", begin)
        return Value(items, self._source, begin, keys_at), at + 1

    def _ends(self, at: int, close: str, after_comma: bool) -> bool:
        """True at the closing bracket. `_comma` has moved past a comma, if there was one."""
        if self._text[at : at + 1] != close:
            return False
        if after_comma and self._text[:at].rstrip()[-1:] == ",":
            _fail(self._source, at, f'there is a "," before this "{close}", and nothing after it')
        return True

    def _comma(self, at: int, close: str, begin: int) -> int:
        """Past the comma after an item, or at the closing bracket."""
        at = _skip(self._text, at)
        found = self._text[at : at + 1]
        if found == ",":
            return _skip(self._text, at + 1)
        if found != close:
            opened = self._source.place(begin).rpartition(":")[0].rpartition(":")[2]
            of = f'the "{self._text[begin]}" is in line {opened}'
            _fail(self._source, at, f'a "," or "{close}" is missing here ({of})')
        return at
