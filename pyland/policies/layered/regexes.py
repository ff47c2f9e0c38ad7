# SPDX-License-Identifier: GPL-2.0-only
r"""Regular expressions as scx_layered reads them: those of Rust's crate `regex`, for Python's `re`.

Most of both is the same. What only Rust has is translated (`\z`, `(?<name>`, `[[:alpha:]]`,
`\x{2f}`, flags at the begin of a group, `$` at the very end alone), or refused by its name; what
only Python has is refused, too: scx_layered would not take such a file.
"""

from __future__ import annotations

import re
from typing import NoReturn

from pyland.policies.layered.values import WrongValueError

_FLAG_GROUP = re.compile(r"\(\?([a-zA-Z]*)(?:-([a-zA-Z]+))?([:)])")
_NAMED_GROUP = re.compile(r"\(\?P?<([^\W\d][\w.\[\]]*)>")
_COUNT = re.compile(r"\{[0-9]+(?:,[0-9]*)?\}")
_POSIX = re.compile(r"\[:(\^?)([a-z]+):\]")
_CODE = re.compile(r"\\(?:[xuU]\{([0-9A-Fa-f]+)\}|x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|"
                   r"U([0-9A-Fa-f]{8}))")  # fmt: skip
_EDGE = re.compile(r"\\b\{([a-z-]+)\}")
_EDGES = {
    "start": r"\b(?=\w)",
    "end": r"\b(?<=\w)",
    "start-half": r"(?<!\w)",
    "end-half": r"(?!\w)",
}
_POSIX_CLASSES = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "ascii": r"\x00-\x7f",
    "blank": r"\t ",
    "cntrl": r"\x00-\x1f\x7f",
    "digit": "0-9",
    "graph": "!-~",
    "lower": "a-z",
    "print": " -~",
    "punct": r"!-/:-@\[-`{-~",
    "space": r"\t\n\v\f\r ",
    "upper": "A-Z",
    "word": "0-9A-Za-z_",
    "xdigit": "0-9A-Fa-f",
}
_REFUSED_GROUPS = {
    "(?=": "lookahead",
    "(?!": "lookahead",
    "(?<=": "lookbehind",
    "(?<!": "lookbehind",
    "(?#": "a comment, (?#...)",
    "(?>": "an atomic group",
    "(?(": "a condition",
    "(?P=": "a backreference",
    "(?P>": "a call of a group",
}


def _refuse(what: str) -> NoReturn:
    raise WrongValueError(f"{what} cannot be had in a CgroupRegex")


def translated(pattern: str) -> str:
    """The same expression for Python's `re`.

    Raises WrongValueError for a feature that is refused, and re.error for a wrong expression.
    """
    return _Translator(pattern).whole()


class _Translator:
    def __init__(self, pattern: str) -> None:
        self._pattern, self._at = pattern, 0
        self._out: list[str] = []
        # For each open group: whether `$` also matches at line ends, and how many flag groups
        # have to be closed with it.
        self._groups: list[tuple[bool, int]] = [(False, 0)]
        self._begins = True
        self._repeated = False

    def whole(self) -> str:
        while self._at < len(self._pattern):
            self._one()
        if len(self._groups) > 1:
            raise re.error("a group is not closed")
        self._out.append(")" * self._groups[0][1])
        return "".join(self._out)

    def _one(self) -> None:
        char = self._pattern[self._at]
        begins, self._begins = self._begins, False
        repeated, self._repeated = self._repeated, False
        if char in "*+?{":
            self._repetition(char, repeated=repeated)
        elif char == "(":
            self._group(begins=begins)
        elif char == ")":
            if len(self._groups) == 1:
                raise re.error("a group is closed that was not opened")
            self._emit(")" * (1 + self._groups.pop()[1]), 1)
        elif char == "[":
            self._class()
        elif char == "\\":
            self._escape()
        elif char == "$":
            self._emit("$" if self._groups[-1][0] else r"\Z", 1)
        elif char == "|":
            self._emit(char, 1)
        else:
            self._emit(char if char in "^." else re.escape(char), 1)

    def _emit(self, text: str, length: int) -> None:
        self._out.append(text)
        self._at += length

    def _repetition(self, char: str, *, repeated: bool) -> None:
        if repeated:
            _refuse("a repetition of a repetition, such as a*+,")
        text = char
        if char == "{":
            count = _COUNT.match(self._pattern, self._at)
            if count is None:
                raise re.error(r"{ begins a repetition such as {2,3}; write \{ for a brace")
            text = count.group()
        self._emit(text, len(text))
        if self._pattern.startswith("?", self._at):
            self._emit("?", 1)
        self._repeated = True

    def _group(self, *, begins: bool) -> None:
        lines = self._groups[-1][0]
        rest = self._pattern[self._at : self._at + 4]
        for begin, what in _REFUSED_GROUPS.items():
            if rest.startswith(begin):
                _refuse(what)
        if not rest.startswith("(?"):
            self._open("(", 1, lines=lines)
        elif named := _NAMED_GROUP.match(self._pattern, self._at):
            self._open("(", len(named.group()), lines=lines)
        elif flags := _FLAG_GROUP.match(self._pattern, self._at):
            self._flags(flags, begins=begins, lines=lines)
        else:
            raise re.error(f"{rest!r} begins no group")

    def _flags(self, found: re.Match[str], *, begins: bool, lines: bool) -> None:
        on, off, end = found.groups(default="")
        for flag in on + off:
            if flag not in "ims":
                _refuse(f"the flag {flag}")
        lines = (lines or "m" in on) and "m" not in off
        text = f"(?{on}{'-' if off else ''}{off}:"
        if end == ":":
            self._open(text, len(found.group()), lines=lines)
            return
        if not begins:
            _refuse(f"{found.group()} in the middle of a group")
        # Flags hold until the end of their group, which then closes this group, too.
        self._emit(text, len(found.group()))
        self._groups[-1] = (lines, self._groups[-1][1] + 1)
        self._begins = True

    def _open(self, text: str, length: int, *, lines: bool) -> None:
        self._emit(text, length)
        self._groups.append((lines, 0))
        self._begins = True

    def _escape(self) -> None:
        if edge := _EDGE.match(self._pattern, self._at):
            if edge[1] not in _EDGES:
                raise re.error(rf"there is no \b{{{edge[1]}}}; there are {', '.join(_EDGES)}")
            self._emit(_EDGES[edge[1]], len(edge.group()))
            return
        after = self._pattern[self._at + 1 : self._at + 2]
        simple = {"z": r"\Z", "<": _EDGES["start"], ">": _EDGES["end"]}
        if after in simple or (after and after in "AbB"):
            self._emit(simple.get(after, f"\\{after}"), 2)
            return
        text, length, _ = self._escaped()
        self._emit(text, length)

    def _escaped(self) -> tuple[str, int, bool]:
        """An escape that may be in a class: its text and length, and if it is one character."""
        if code := _CODE.match(self._pattern, self._at):
            number = int(next(filter(None, code.groups())), 16)
            if number > 0x10FFFF or 0xD800 <= number < 0xE000:
                raise re.error(f"{code.group()} is no character")
            return re.escape(chr(number)), len(code.group()), True
        after = self._pattern[self._at + 1 : self._at + 2]
        if not after:
            raise re.error(r"a \ is at the end")
        if after in "dDwWsS":
            return f"\\{after}", 2, False
        if after in "ntrfva":
            return f"\\{after}", 2, True
        if after in "pP":
            _refuse(rf"a class of Unicode, \{after}{{...}},")
        if after.isdigit():
            _refuse(rf"a backreference, \{after},")
        if after.isalpha() or not after.isascii() or after in "<>":
            raise re.error(rf"there is no \{after}")
        return re.escape(after), 2, True

    def _class(self) -> None:
        begin = "[^" if self._pattern.startswith("[^", self._at) else "["
        self._emit(begin, len(begin))
        first, is_one = True, False
        while not self._pattern.startswith("]", self._at) or first:
            char = self._pattern[self._at : self._at + 1]
            if not char:
                raise re.error("a class, [...], is not closed")
            two = self._pattern[self._at : self._at + 2]
            if two in ("&&", "--", "~~"):
                _refuse(f"{two} in a class")
            if char == "-" and is_one and two != "-]":
                self._emit("-", 1)
                is_one = False
            else:
                is_one = self._item(char)
            first = False
        self._emit("]", 1)

    def _item(self, char: str) -> bool:
        """One item of a class; True if it is one character, which a range can begin with."""
        if char == "\\":
            text, length, is_one = self._escaped()
            self._emit(text, length)
            return is_one
        if posix := _POSIX.match(self._pattern, self._at):
            if posix[2] not in _POSIX_CLASSES:
                raise re.error(f"there is no class {posix.group()}")
            if posix[1]:
                _refuse(f"{posix.group()}, a class that is negated within a class,")
            self._emit(_POSIX_CLASSES[posix[2]], len(posix.group()))
            return False
        if char == "[":
            _refuse("a class within a class")
        self._emit(re.escape(char), 1)
        return True
