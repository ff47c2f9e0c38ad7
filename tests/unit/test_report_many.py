# SPDX-License-Identifier: GPL-2.0-only
"""docs/performance.md has the workloads on eight CPUs beside those on two, and migrations."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from bench import kernel, report, results
from bench.figures import PYLAND
from bench.verdicts import verdicts
from tests.support.commands import load_command
from tools.lab import topology

COMMAND = Path(__file__).resolve().parents[2] / "tools" / "bench"
ALL, FAR = "migrations_per_switch", "far_migrations_per_switch"


def _metric(better: str, about: str) -> dict[str, str]:
    return {"better": better, "about": about}


def _file(cpus: int, ops: float, moved: float, *names: str) -> dict[str, Any]:
    """Two rounds of `switch`; pyland has this part of the default's `ops`, and so many times as
    many migrations."""
    metrics = {
        "ops_per_s": _metric("higher", "operations"),
        **{name: _metric("lower", f"tasks that moved, {name}") for name in names},
    }

    def run(scheduler: str, round_: int, ops: float, moved: float) -> dict[str, Any]:
        figures = {"ops_per_s": ops, **dict.fromkeys(names, moved)}
        row = {"scheduler": scheduler, "workload": "switch", "round": round_, "metrics": figures}
        faults = {"seconds": 1.0, "decisions": 9, "user_ns": 9, "bpf_ns": 9, "bpf_runs": 9}
        return {**row, "error": "", "cost": {**faults, "page_faults": 0 if cpus == 2 else 1}}

    return {
        "machine": {"cpus": cpus, "clock": "instructions"},
        "command": f'make bench-kernel BENCH_ARGS="--machines {cpus}"',
        "date": "2026-11-25",
        "rounds": 2,
        "seconds": 4.0,
        "left_out": {f"scx_{cpus}": "not on PATH"},
        "workloads": {"switch": {"about": "pairs", "contended": True, "metrics": metrics}},
        "runs": [
            made
            for round_ in range(2)
            for made in (
                run("default", round_, 1000.0 * cpus, 0.01),
                run(PYLAND, round_, 1000.0 * cpus * ops, 0.01 * moved),
            )
        ],
    }


def _write(folder: Path, **files: dict[str, Any]) -> results.Results:
    for name, data in files.items():
        path = folder / f"{name.replace('_', '-')}.json"
        path.write_text(json.dumps(data), encoding="utf-8")
    return results.load(folder)


def _section(page: str, title: str) -> str:
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_both_machines_have_their_figures(tmp_path: Path) -> None:
    two, eight = _file(2, 0.8, 2, ALL), _file(8, 0.5, 4, ALL, FAR)
    text = report.page(_write(tmp_path, kernel=two, kernel_8=eight), "", {})
    assert f"| {PYLAND} | 2 | 1,600 | 1,600 to 1,600 | 0.800 (0.800 to 0.800) |" in _section(
        text, "Workloads"
    )
    assert "migrations" not in _section(text, "Workloads")
    moved = _section(text, "Migrations")
    assert f"| switch | {PYLAND} | 2 | 0.0200 | 0.500 (0.500 to 0.500) |" in moved
    assert FAR not in moved
    many = _section(text, "Eight CPUs")
    assert "| switch | `ops_per_s` | 2 | 8,000 | 0.500 (0.500 to 0.500) |" in many
    assert f"| switch | {PYLAND} | 2 | 0.0400 | 0.250 (0.250 to 0.250) | 0.0400 |" in many
    assert "| switch | default | 2 | 0.0100 | 1.000 (1.000 to 1.000) | 0.0100 |" in many
    assert f"- `{FAR}`: tasks that moved, {FAR}" in many
    assert "--machines 2" in _section(text, "How to repeat it")
    assert "kernel-8.json is of 2026-11-25: 2 rounds" in _section(text, "How to repeat it")
    assert "| cpus | 2 | 8 |" in _section(text, "The machine")
    assert "| eight CPUs: scx_8 | not on PATH |" in _section(text, "What was left out")


def test_figures_of_eight_cpus_are_in_none_of_two(tmp_path: Path) -> None:
    found = _write(tmp_path, kernel_8=_file(8, 0.5, 4, ALL, FAR))
    assert found.kernel == ()
    assert found.ratio(PYLAND, "switch", "ops_per_s") is None
    text = report.page(found, "", {})
    assert _section(text, "Workloads").strip() == "Not measured."
    assert "| switch | `ops_per_s` |" in _section(text, "Eight CPUs")


def test_without_migrations_the_page_says_so(tmp_path: Path) -> None:
    text = report.page(_write(tmp_path, kernel=_file(2, 0.8, 2)), "", {})
    assert _section(text, "Migrations").strip() == "Not measured."
    assert _section(text, "Eight CPUs").strip() == "Not measured."


def test_a_failure_names_its_machine(tmp_path: Path) -> None:
    two, eight = _file(2, 0.8, 2, ALL), _file(8, 0.5, 4, ALL)
    for file in (two, eight):
        file["runs"][1] |= {"error": "status 1", "metrics": {}}
    text = _section(
        report.page(_write(tmp_path, kernel=two, kernel_8=eight), "", {}), "What failed"
    )
    assert f"| switch | {PYLAND} | 1 | 2 | status 1 |" in text
    assert f"| switch, eight CPUs | {PYLAND} | 1 | 2 | status 1 |" in text


def test_page_faults_count_on_both_machines(tmp_path: Path) -> None:
    def faults(**files: dict[str, Any]) -> bool | None:
        (verdict,) = (each for each in verdicts(_write(tmp_path, **files)) if each.number == 5)
        return verdict.reached

    assert faults(kernel=_file(2, 0.8, 2)) is True
    assert faults(kernel=_file(2, 0.8, 2), kernel_8=_file(8, 0.5, 4)) is False


def test_the_summary_of_one_file_has_its_migrations(tmp_path: Path) -> None:
    _write(tmp_path, kernel_8=_file(8, 0.5, 4, ALL, FAR))
    lines = report.summary(results.kernel_file(tmp_path / "kernel-8.json")).splitlines()
    assert lines[2].endswith("0.500 times as good, 0.0400 migrations per switch")


def test_a_bad_file_of_eight_cpus_is_named(tmp_path: Path) -> None:
    (tmp_path / "kernel-8.json").write_text("{", encoding="utf-8")
    with pytest.raises(results.ResultsError, match=r"kernel-8\.json: "):
        results.load(tmp_path)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/bench as a module."""
    return load_command(COMMAND, monkeypatch)


def test_each_machine_has_its_file(command: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    booted: list[tuple[tuple[str, ...], int, list[str]]] = []

    def guest(*words: str, cpus: int, options: list[str], hours: float) -> int:
        booted.append((words, cpus, options))
        return 0 if cpus == 2 else 1

    monkeypatch.setattr(command, "guest", guest)
    monkeypatch.setattr(command.mariadb, "prepare", lambda: None)
    assert command.kernel(["--rounds", "1"], [2, 8]) == 1
    (two, _, plain), (eight, cpus, many) = booted
    assert two[-4:] == ("--machine", "2", "--rounds", "1")
    assert eight[-4:] == ("--machine", "8", "--rounds", "1")
    assert "--topology" not in plain
    layout = many[many.index("--topology") + 1]
    assert topology.parse(layout, cpus).cpus == 8
    assert "--icount" in many
    assert results.MACHINES[8] != results.MACHINES[2]


def test_this_machine_is_none_of_the_labs(
    command: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["--here", "--machines", "8"])
    assert ended.value.code == 2
    assert "give one of them" in capsys.readouterr().err


def test_a_file_is_not_written_by_another_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel, "SCHED_EXT", tmp_path)
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert kernel.main(["--machine", "8", "--results", str(tmp_path)]) == 2
    assert "this machine has 2 CPUs" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
