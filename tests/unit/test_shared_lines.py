# SPDX-License-Identifier: GPL-2.0-only
"""What is written by different CPUs lies in different cache lines."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from pyland._native import ffi

LINE = 64
SOURCE = Path(__file__).resolve().parents[2] / "bpf" / "shared_state.h"


def blocks(struct: str) -> list[list[str]]:
    """The members of a struct, block by block: a comment of its own begins one."""
    text = SOURCE.read_text(encoding="utf-8")
    body = text[text.index(f"struct {struct} {{") :]
    body = body[: body.index("\n};")]
    found = [
        re.findall(r"^\t(?:unsigned |long |int |short |char )+(\w+)(?:\[\d+\])?;", block, re.M)
        for block in re.split(r"^\t/\* [A-Z].*?\*/$", body, flags=re.M)
    ]
    return [names for names in found if names]


def test_the_state_of_bpf_has_its_blocks_in_lines_of_their_own() -> None:
    members = dict(ffi.typeof("struct pyland_shared").fields)
    found = blocks("pyland_shared")
    assert sum(map(len, found)) > 20
    for before, after in pairwise(found):
        last, first = members[before[-1]].offset, members[after[0]].offset
        assert first // LINE > last // LINE, f"{before[-1]} and {after[0]} share a line"
        assert first % LINE == 0, f"{after[0]} begins in the middle of a line"


@pytest.mark.parametrize("struct", ["pyland_cpu", "pyland_user_cpu", "pyland_llc"])
def test_no_two_cpus_share_a_line(struct: str) -> None:
    assert ffi.sizeof(f"struct {struct}") % LINE == 0


def test_what_the_policy_says_of_a_domain_is_apart_from_its_gauges() -> None:
    members = dict(ffi.typeof("struct pyland_user_domain").fields)
    assert members["nr_runnable"].offset % LINE == 0
    assert members["ask_first"].offset // LINE < members["nr_runnable"].offset // LINE
    assert ffi.sizeof("struct pyland_user_domain") % LINE == 0
