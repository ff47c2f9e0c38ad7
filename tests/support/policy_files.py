# SPDX-License-Identifier: GPL-2.0-only
"""Policies in files and packages, made for a test."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyland.errors import UsageError
from pyland.loading.finder import choose

MINE = """
from pyland import Policy, option

class Mine(Policy):
    '''Mine it is.

    And more.'''
    name = "{name}"
    gap_ms: int = option(3, "the gap", least=0, most=9)

    def enqueue(self, task):
        self.dispatch(task)
"""


def write(path: Path, text: str) -> Path:
    """Write a file that no other user can change, whatever the umask."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)
    return path


def refusal(spec: str, folder: Path, *given: str, reload: bool = False) -> str:
    """The message when a spec is refused; asserts that it is one line."""
    with pytest.raises(UsageError) as refused:
        choose(spec, given, folder=folder, reload=reload)
    text = str(refused.value)
    assert "\n" not in text
    return text


def install(site: Path, package: str, text: str, **points: str) -> None:
    """Make an installed package of one module, with entry points."""
    write(site / f"{package}.py", text)
    info = site / f"{package}-1.5.dist-info"
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.5\n")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    write(info / "entry_points.txt", f"[pyland.policies]\n{lines}")
