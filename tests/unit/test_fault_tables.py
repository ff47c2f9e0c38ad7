# SPDX-License-Identifier: GPL-2.0-only
"""docs/faults.md is true: the tests that it names exist, and the contract is covered."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "faults.md"
LEAST_COVERED = 34


@cache
def tables() -> dict[str, list[list[str]]]:
    """The cells of all rows, by the heading of their table."""
    found: dict[str, list[list[str]]] = {}
    for section in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        heading, *lines = section.splitlines()
        rows = [line.strip().strip("|").split(" | ") for line in lines if line.startswith("|")]
        found[heading] = [[cell.strip() for cell in row] for row in rows[2:]]
    return found


@cache
def known() -> tuple[frozenset[str], frozenset[str]]:
    """The names of all modules, and of all functions that are tests."""
    files = list((ROOT / "tests").rglob("test_*.py"))
    functions = (re.findall(r"^ *def (test_\w+)", file.read_text(), re.M) for file in files)
    return frozenset(file.stem for file in files), frozenset(
        name for of in functions for name in of
    )


def named(cell: str) -> set[str]:
    """The tests that a cell names: words in backticks that could be a name, and `test_...`."""
    words = set(re.findall(r"\btest_\w+", cell))
    words |= {
        word if word.startswith("test_") else f"test_{word}"
        for word in re.findall(r"`([a-z]\w*_\w+)`", cell)
    }
    return words


@pytest.mark.parametrize("heading", tables())
def test_every_test_that_a_table_names_exists(heading: str) -> None:
    modules, functions = known()
    for row in tables()[heading]:
        assert row[-1], f"{row[0]} {row[1]}: it has no test, and does not say why"
        unknown = named(row[-1]) - modules - functions
        assert not unknown, f"{row[0]}: {unknown}"


def test_a_name_that_is_none_would_be_found() -> None:
    modules, functions = known()
    cell = "test_limits: `there_is_no_such_test`, `test_a_name_that_is_none_would_be_found`"
    assert named(cell) - modules - functions <= {"test_there_is_no_such_test", "test_limits"}
    assert "test_there_is_no_such_test" in named(cell) - modules - functions


def test_the_contract_is_covered() -> None:
    rows = tables()["The contract"]
    assert [int(row[0]) for row in rows] == list(range(1, 41))
    covered = [row for row in rows if named(row[-1])]
    assert len(covered) >= LEAST_COVERED
    for row in rows:
        assert row in covered or row[-1].startswith("none: "), row[1]
