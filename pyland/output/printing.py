# SPDX-License-Identifier: GPL-2.0-only
"""All output of pyland goes through here: escaped, encodable, and bounded in time.

Names of tasks and texts of policies and exceptions are not pyland's own. On a terminal, an
escape sequence in them would move the cursor, set the title or answer for the user; a
newline would start a line that looks like pyland's; a bidi control would reverse a line.
"""

from __future__ import annotations

import codecs
import json
import locale
import os
import signal
import sys
from contextlib import suppress
from typing import Any, TextIO

from pyland.errors import UsageError
from pyland.output.outlet import Outlet

WITHIN_S = 0.25
"""How long `say` waits for a reader: pyland ends within a second."""

ERROR, WARNING, INFO, DEBUG = 3, 4, 6, 7
"""The levels of syslog; a line without a level is an INFO."""

_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_NAMES = {"stdout": "standard output", "stderr": "standard error"}


def escape(text: str, keep: str = "") -> str:
    """The text in one line of printable characters; others are escaped as Python does.

    Escaped are all controls (C0, C1, DEL), newlines of any kind, bidi and other format
    characters, and bytes that are no text, but not the characters in `keep`.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else _code(c) for c in text)


def _code(char: str) -> str:
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # a byte of a file's name that is no text (PEP 383)
        number -= 0xDC00
    if char in _SHORT:
        return _SHORT[char]
    if number < 0x100:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def block(text: str) -> str:
    """A text of several lines, escaped; all but the first are indented.

    So none of them looks like a line of pyland's own.
    """
    first, *rest = text.expandtabs(4).rstrip("\n").split("\n")
    indented = (line if line.startswith("  ") else f"  {line}".rstrip() for line in rest)
    return "\n".join(map(escape, [first, *indented]))


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON in ASCII without controls, so that it is harmless on a terminal."""
    return json.dumps(value, indent=indent).replace("\x7f", "\\u007f")


def encode(text: str) -> bytes:
    """The text and a newline in the terminal's encoding; characters that it lacks are escaped."""
    line = escape(text, keep="\n") + "\n"
    return line.encode(encoding(), errors="backslashreplace")


def encoding() -> str:
    """The terminal's encoding, which is the locale's.

    In the C locale Python writes UTF-8. An 8-bit terminal would see controls in it: the
    second byte of some letters is one.
    """
    stream = sys.__stdout__ or sys.__stderr__
    name = "ascii" if stream is None else stream.encoding
    if sys.flags.utf8_mode:
        name = locale.getencoding()
    try:
        codecs.lookup(name)
    except LookupError:
        return "ascii"
    return name


def show(text: str) -> bool:
    """Print on standard output and wait for its reader; for commands that only show a text.

    Raises UsageError if the disk is full; returns False if the reader has left.
    """
    if _captured("stdout", text):
        return True
    data = encode(text)
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError:
        return False
    except OSError as error:
        raise UsageError(f"{_NAMES['stdout']}: {error.strerror}") from None
    return True


def is_journal(name: str = "stdout") -> bool:
    """True if a standard stream goes to systemd's journal, which has time and level of each line.

    Only systemd sets the variable that tells so, and only a stream that was not changed since has
    the numbers in it.
    """
    try:
        found = os.fstat(1 if name == "stdout" else 2)
    except OSError:
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def leveled(text: str, level: int) -> str:
    """The text for the journal: each line has its level in front, as sd-daemon(3) tells."""
    if level == INFO:
        return text
    return "\n".join(f"<{level}>{line}" for line in text.split("\n"))


def say(text: str, name: str = "stdout", level: int = INFO) -> None:
    """Print on a standard stream and wait at most `WITHIN_S` for its reader; never raises.

    Text for which there is no room by then is dropped. `level` is for the journal.
    """
    if _captured(name, text):
        return
    if is_journal(name):
        text = leveled(text, level)
    outlet = Outlet(1 if name == "stdout" else 2, room=None)
    outlet.offer(encode(text))
    outlet.drain(WITHIN_S)
    outlet.close()


def prepare() -> None:
    """Open each standard stream that is closed, so that no other file takes its number.

    Otherwise the next open file, for example a BPF map, would become a standard stream, and
    error messages would be written into it.
    """
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            with suppress(OSError):
                # open() takes the lowest free number. That is fd: all below are open.
                os.open(os.devnull, os.O_RDWR if fd else os.O_RDONLY)
                os.set_inheritable(fd, True)


def go_on_in_the_background() -> None:
    """Let no terminal stop this process when it writes (`stty tostop`)."""
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)


def _captured(name: str, text: str) -> bool:
    """True, and the text is written, if the calling program has replaced the stream."""
    stream: TextIO | None = getattr(sys, name)
    if stream is None or stream is getattr(sys, f"__{name}__"):
        return False
    stream.write(escape(text, keep="\n") + "\n")
    return True
