# SPDX-License-Identifier: GPL-2.0-only
"""What authors of policies read is true: its code runs, and uses only public names."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from pyland.engine import guard
from pyland.policies import FOLDER
from pyland.policy import BASE_FIELDS, EXTRA_FIELDS
from pyland.stats.counters import COUNTERS
from pyland.supervisor import privileges
from pyland.testing import OfflineMachine, make_topology

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README, PAGE = ROOT / "README.md", DOCS / "policy.md"


def python_blocks(page: Path) -> list[str]:
    """Its Python blocks, with blank lines in front: a failure is reported with the page's line."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return ["\n" * (text.count("\n", 0, block.start()) + 1) + block[1] for block in found]


def test_all_blocks_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "page"}
    blocks = python_blocks(PAGE)
    assert len(blocks) > 5
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert "hog0 runs on CPU 0 for up to 20 ms" in capsys.readouterr().out


def test_the_policy_of_the_readme_runs() -> None:
    names: dict[str, Any] = {"__name__": "page"}
    (block,) = python_blocks(README)
    exec(compile(block, str(README), "exec"), names)
    machine = OfflineMachine(make_topology(cpus=1), names["Shortest"])
    for number in range(3):
        machine.wake(machine.add(f"hog{number}"))
    machine.run(100_000_000)
    assert machine.counters["decided"] > 10


def test_authors_of_policies_see_public_names_only() -> None:
    """A policy may have private names of its own: those that the same source assigns or defines."""
    sources = [*python_blocks(README), *python_blocks(PAGE)]
    sources += [path.read_text(encoding="utf-8") for path in FOLDER.glob("*.py")]
    assert len(sources) > 15
    for source in sources:
        own: set[str] = set()
        used: set[str] = set()
        for node in ast.walk(ast.parse(source)):
            match node:
                case ast.Name(id=name, ctx=context) | ast.Attribute(attr=name, ctx=context):
                    (own if isinstance(context, ast.Store) else used).add(name)
                case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    own.add(name)
                case ast.ImportFrom(module=module, names=names):
                    used.update(f"{module}.{'.'.join(each.name for each in names)}".split("."))
                case _:
                    pass
        private = {name for name in used - own if name.startswith("_") and name[-2:] != "__"}
        assert not private | ({"pending"} & used), source[:200]


def test_the_table_has_all_fields() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for group, fields in (("always", BASE_FIELDS), ("on demand", EXTRA_FIELDS)):
        (row,) = re.findall(rf"^\| {group} \| (.*) \|$", text, re.MULTILINE)
        assert tuple(re.findall(r"`(\w+)`", row)) == fields


def test_the_limits_are_those_of_the_code() -> None:
    text = " ".join(PAGE.read_text(encoding="utf-8").split())
    assert f"After {guard.FAILURES_MAX} failures within {guard.WINDOW_S:g} seconds" in text
    assert f"{privileges.GROWTH_MIB} MiB after the start" in text
    assert f"which counts as {guard.TOO_LONG_COUNTS} failures" in text
    assert guard.TOO_LONG_S == 1


def test_the_page_of_statistics_has_all_counters() -> None:
    text = (DOCS / "statistics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \| (.*) \|$", text, re.MULTILINE)
    kinds = {True: "gauge", False: "counter"}
    assert rows == [(c.name, c.unit, kinds[c.is_gauge], c.meaning) for c in COUNTERS]
