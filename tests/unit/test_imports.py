# SPDX-License-Identifier: GPL-2.0-only
"""Which parts of the tree may import which: the tests of a folder stand alone."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

FORBIDDEN = {
    "tests/unit": ("tests.rings", "tests.kernel"),
    "tests/rings": ("tests.unit", "tests.kernel"),
    "tests/kernel": ("tests.unit", "tests.rings"),
    "tests/support": ("tests.unit", "tests.rings", "tests.kernel"),
    "bench": ("tests",),
    "tools": ("tests",),
    "pyland": ("tests", "tools", "bench"),
}


def imported(text: str) -> set[str]:
    """The whole names of the modules that a source imports, and of what it imports from them."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def sources(folder: str) -> list[Path]:
    """Modules of a folder, and its commands, which have no suffix."""
    found = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
    return [
        path
        for path in found
        if path.suffix == ".py"
        or (not path.suffix and path.read_bytes().startswith(b"#!/usr/bin/env python3"))
    ]


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_a_folder_imports_nothing_that_it_must_not(folder: str) -> None:
    paths = sources(folder)
    assert paths
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in paths
        for name in imported(path.read_text(encoding="utf-8"))
        if any(f"{name}.".startswith(f"{other}.") for other in FORBIDDEN[folder])
    ]
    assert wrong == []


def test_each_way_to_import_is_seen() -> None:
    text = "import tests.unit\ndef f():\n    from tests import kernel\n"
    assert imported(text) == {"tests.unit", "tests.kernel"}


def test_the_lab_needs_no_package_outside_of_the_standard_library() -> None:
    """`make soak` and the tests start tools/vm with the system's Python, which may have none."""
    command = [sys.executable, "-I", "-S", "tools/vm", "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
