# SPDX-License-Identifier: GPL-2.0-only
"""The page for authors of policies is true: its code runs, in the order of the page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyland.kernel import guard, privileges
from pyland.kernel.counters import COUNTERS
from pyland.policy import BASE_FIELDS, EXTRA_FIELDS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = DOCS / "policy.md"


def test_all_blocks_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "page"}
    blocks = list(re.finditer(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE))
    assert len(blocks) > 5
    for block in blocks:
        # Blank lines in front, so that a failure is reported with the page's line.
        lines = "\n" * (text.count("\n", 0, block.start()) + 1)
        exec(compile(lines + block[1], str(PAGE), "exec"), names)
    assert "hog0 runs on CPU 0 for up to 20 ms" in capsys.readouterr().out


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
