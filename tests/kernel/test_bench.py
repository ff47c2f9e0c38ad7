# SPDX-License-Identifier: GPL-2.0-only
"""`make bench-kernel` measures the pyland that there is: its workload, and what deciding costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tools.load.build import ROOT
from tools.load.command import available

pytestmark = [
    pytest.mark.counted,
    pytest.mark.long,
    pytest.mark.skipif(not available("stress-ng"), reason="no stress-ng here"),
]


def test_a_round_has_metrics_and_costs(tmp_path: Path) -> None:
    words = ["--rounds", "1", "--seconds", "1", "--workloads", "switch", "--results", str(tmp_path)]
    command = [sys.executable, "-m", "bench.kernel", *words, "--schedulers", "pyland deadline"]
    subprocess.run(command, cwd=ROOT, check=True)
    runs = json.loads((tmp_path / "kernel.json").read_text(encoding="utf-8"))["runs"]
    assert [run["scheduler"] for run in runs] == ["default", "pyland deadline"]
    assert not any(run["error"] for run in runs), runs
    assert all(run["metrics"]["ops_per_s"] > 0 for run in runs)
    cost = runs[1]["cost"]
    assert cost["decisions"] > 0
    assert cost["dispatched"] > cost["decisions"]
    assert cost["page_faults"] == 0
