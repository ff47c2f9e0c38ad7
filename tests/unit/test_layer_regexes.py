# SPDX-License-Identifier: GPL-2.0-only
"""CgroupRegex in the syntax of Rust's crate `regex`: translated, or refused by name."""

from __future__ import annotations

import json
import re

import pytest

from pyland.errors import UsageError
from pyland.policies.layered.reading import read
from pyland.policies.layered.regexes import translated
from pyland.policies.layered.values import WrongValueError

# As Rust's documentation says: an expression, texts that it finds, and texts that it does not.
MEANINGS = [
    (r"s\.slice/[a-z]+-[0-9]{2,3}\.service$", ["s.slice/db-12.service"], ["s.slice/db-1.service"]),
    (r"a$", ["xa"], ["a\n", "ab"]),
    (r"a\z", ["xa"], ["a\n"]),
    (r"(?m)a$", ["xa", "a\nb"], ["ab"]),
    (r"(?m:a$)b|c$", ["c"], ["c\n"]),
    (r"(?i)ab|cd", ["AB", "xCD"], ["ac"]),
    (r"(?i-s)a.", ["AB"], ["a\n"]),
    (r"(x(?i)|y)", [], []),
    (r"(?s)a.b", ["a\nb"], ["ab"]),
    (r"x(?i:ab)y", ["xABy"], ["XABy"]),
    (r"((?i)a|b)c", ["Ac", "Bc"], ["AC"]),
    (r"(?<name>a)(?P<other>b)", ["ab"], ["ba"]),
    (r"[[:digit:]]+/[[:^alpha:]]", [], []),
    (r"^[[:digit:][:upper:]_]+$", ["A1_"], ["a1", "", "["]),
    (r"^[]a]$", ["]", "a"], ["b"]),
    (r"^[^]a]$", ["b"], ["]", "a"]),
    (r"^[a-c-]$", ["b", "-"], ["d"]),
    (r"^[-a]$", ["-", "a"], ["b"]),
    (r"^[\d-z]$", ["5", "-", "z"], ["e"]),
    (r"^[\x2f\u{41}-\u0043]$", ["/", "B"], ["D"]),
    (r"^\x{e9}\U0001F600$", ["\u00e9\U0001f600"], ["e"]),
    (r"\<run\>", ["a run b"], ["rerun", "runs"]),
    (r"\b{start}a\b{end}", ["a b"], ["ab"]),
    (r"\b{start-half}a\b{end-half}", ["a b"], ["ba"]),
    (r"a{2}?b{1,}c{0,2}", ["aabc"], ["abc"]),
    (r"}\{\}a-b~&", ["}{}a-b~&"], ["{}"]),
    (r"\/\-\.\*\ \#\_", ["/-.* #_"], ["/"]),
    (r"^a|b$", ["ax", "xb"], ["xa"]),
    (r"^\w+\s\D$", ["ab x"], ["ab 1"]),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "found", "others"), MEANINGS)
def test_it_means_what_rust_says(pattern: str, found: list[str], others: list[str]) -> None:
    if not found:
        with pytest.raises(WrongValueError, match="cannot be had in a CgroupRegex"):
            translated(pattern)
        return
    search = re.compile(translated(pattern)).search
    assert [text for text in found if not search(text)] == []
    assert [text for text in others if search(text)] == []


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"a(?=b)", "lookahead cannot be had"),
        (r"a(?!b)", "lookahead"),
        (r"(?<=a)b", "lookbehind"),
        (r"(?<!a)b", "lookbehind"),
        (r"(a)\1", r"a backreference, \\1,"),
        (r"(?P<x>a)(?P=x)", "a backreference"),
        (r"(?>a)", "an atomic group"),
        (r"(?#no)a", "a comment"),
        (r"(a)?(?(1)b|c)", "a condition"),
        (r"a++", "a repetition of a repetition"),
        (r"a*{2}", "a repetition of a repetition"),
        (r"a{,3}", r"write \\{ for a brace"),
        (r"a{x}", r"write \\{ for a brace"),
        (r"(?x)a b", "the flag x"),
        (r"(?U)a*", "the flag U"),
        (r"a(?i)b", "in the middle of a group"),
        (r"\p{Greek}", r"a class of Unicode, \\p"),
        (r"\pL", r"a class of Unicode, \\p"),
        (r"[a-z&&[^b]]", "&& in a class"),
        (r"[a-z--b]", "-- in a class"),
        (r"[a[bc]]", "a class within a class"),
        (r"[[:word]", "a class within a class"),
        (r"[[:alfa:]]", r"there is no class \[:alfa:\]"),
        (r"a\Z", r"there is no \\Z"),
        (r"[\b]", r"there is no \\b"),
        (r"\b{middle}", r"there is no \\b{middle}"),
        (r"\x{d800}", "is no character"),
        (r"a\q", r"there is no \\q"),
        ("a\\", r"a \\ is at the end"),
        (r"(a", "a group is not closed"),
        (r"a)", "closed that was not opened"),
        (r"[a", "a class, .* is not closed"),
        (r"(?", "begins no group"),
    ],
)
def test_what_is_refused_by_name(pattern: str, said: str) -> None:
    with pytest.raises((WrongValueError, re.error), match=said):
        translated(pattern)
    text = [
        {"name": "a", "matches": [[{"CgroupRegex": pattern}]], "kind": {"Open": {}}},
        {"name": "rest", "matches": [[]], "kind": {"Open": {}}},
    ]
    with pytest.raises(UsageError, match=r'layers\[1\]:1:\d+: layer "a": "CgroupRegex" is .*: '):
        read([json.dumps(text)])
