# SPDX-License-Identifier: GPL-2.0-only
"""What the BPF program is must not depend on what a compiler happens to inline."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.lab import btf, objects

# Registers that BPF passes arguments in; a compiler has no stack for more.
ARGUMENTS = 5


@pytest.fixture(scope="module")
def made() -> dict[str, dict[str, list[str]]]:
    """The functions of each clang's object, and the names of their arguments."""
    return {path.parent.name: btf.functions(path) for path in objects.build()}


def test_all_functions_take_as_many_arguments_as_bpf_passes(
    made: dict[str, dict[str, list[str]]],
) -> None:
    assert made
    for clang, functions in made.items():
        assert {"pyland_enqueue", "drain_one", "take_ordered"} <= functions.keys(), clang
        assert {name for name, each in functions.items() if len(each) > ARGUMENTS} == set(), clang


def test_functions_say_themselves_whether_they_are_inlined(
    made: dict[str, dict[str, list[str]]], tmp_path: Path
) -> None:
    """A compiler that inlines nothing of its own accord makes the same ones, and all others too."""
    apart = tmp_path / "pyland.bpf.o"
    objects.compile_one(apart, flags=["-fno-inline-functions"])
    told = set(btf.functions(apart))
    for name, functions in made.items():
        assert set(functions) == told, name
