# SPDX-License-Identifier: GPL-2.0-only
"""docs/performance.md shows the results: ratios, failures, verdicts, and every figure."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import report, results
from bench.figures import PYLAND, RUSTLAND, Cost, Spread
from bench.verdicts import verdicts

MACHINE = {"cpu_model": "A CPU", "cpus": 4, "memory_mib": 2048, "kernel": "7.3.4", "emulated": True}
WORKLOADS = {
    "schbench": {
        "about": "requests",
        "contended": True,
        "metrics": {
            "wakeup_p99_us": {"better": "lower", "about": "99 % are faster"},
            "rps": {"better": "higher", "about": "requests per second"},
        },
    },
    "stress": {
        "about": "bogus work",
        "contended": False,
        "metrics": {"bogo_per_s": {"better": "higher", "about": "work"}},
    },
}


def _cost(user: int = 4000, bpf: int = 1000, faults: int | None = 0) -> dict[str, Any]:
    """This many ns per decision: 1,000 decisions in 100 ms, two dispatched tasks for each."""
    return {
        "seconds": 0.1,
        "decisions": 1000,
        "dispatched": 2000,
        "user_ns": 1000 * user,
        "bpf_ns": 1000 * bpf,
        "bpf_runs": 5000 if bpf else 0,
        "cycles": 400,
        "page_faults": faults,
        "split": {
            "records": 1000,
            "scheduler_wait_ns": 21_000_000,
            "python_ns": 32_000_000,
            "queue_wait_ns": 86_000_000,
            "queue_waits": 2000,
        },
    }


def _run(scheduler: str, workload: str, round_: int, error: str = "", **metrics: float) -> Any:
    cost = _cost() if scheduler == PYLAND else None
    return {
        "scheduler": scheduler,
        "workload": workload,
        "round": round_,
        "metrics": metrics,
        "error": error,
        "cost": cost,
    }


def _ring(us: float, **extra: Any) -> dict[str, Any]:
    return {"name": "x", "params": None, "extra_info": {"us_per_task": us, **extra}}


def _files() -> dict[str, dict[str, Any]]:
    """One of each file, in which pyland reaches every target that is measured."""
    runs = []
    # The machine gets slower from round to round; pyland stays ahead by the same factor.
    for round_, drift in enumerate((1, 3, 7)):
        runs += [
            _run("default", "schbench", round_, wakeup_p99_us=200.0 * drift, rps=50.0),
            _run(PYLAND, "schbench", round_, wakeup_p99_us=100.0 * drift, rps=51.0),
            _run(RUSTLAND, "schbench", round_, wakeup_p99_us=160.0 * drift, rps=49.0),
            _run("default", "stress", round_, bogo_per_s=1000.0 / drift),
            _run(PYLAND, "stress", round_, bogo_per_s=990.0 / drift),
        ]
    rows = [
        {"scheduler": scheduler, "load": load, "round": round_, "cost": _cost(user + round_)}
        for load in ("full", "low")
        for scheduler, user in ((PYLAND, 4000), (RUSTLAND, 9000))
        for round_ in range(2)
    ]
    scale = [
        {"scheduler": PYLAND, "cpus": 4, "tasks": tasks, "cost": _cost(user), "error": ""}
        for tasks, user in ((10, 4100), (10_000, 4300))
    ]
    rings = [
        *(_ring(us, batch=batch, queued=10_000) for batch, us in ((1, 3.71), (64, 0.83))),
        *(_ring(us, batch=64, queued=queued, part="policy") for queued, us in ((10, 0.41),)),
        _ring(0.47, batch=64, queued=10_000, part="policy"),
    ]
    head = {"machine": MACHINE, "command": "make bench-kernel"}
    return {
        "kernel": {
            **head,
            "date": "2026-11-25",
            "rounds": 3,
            "seconds": 5.0,
            "left_out": {"scx_lavd": "not on PATH"},
            "workloads": WORKLOADS,
            "runs": runs,
        },
        "cost": {**head, "command": "make bench-cost", "runs": rows},
        "scale": {**head, "runs": scale},
        "rings": {"machine_info": {"release": "6.18"}, "benchmarks": rings},
    }


def _write(folder: Path, files: dict[str, dict[str, Any]]) -> results.Results:
    for name, data in files.items():
        (folder / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
    return results.load(folder)


def _reached(found: results.Results) -> dict[str, bool | None]:
    return {each.target: each.reached for each in verdicts(found)}


def test_ratios_are_taken_within_a_round(tmp_path: Path) -> None:
    files = _files()
    # Without its last round the default scheduler's median would be of faster rounds only.
    del files["kernel"]["runs"][10]
    found = _write(tmp_path, files)
    ratio = found.ratio(PYLAND, "schbench", "wakeup_p99_us")
    assert ratio == Spread(2.0, 2.0, 2.0, runs=2)
    figures = found.figures(PYLAND, "schbench", "wakeup_p99_us")
    assert figures == Spread(300.0, 100.0, 700.0, runs=3)


def test_above_one_is_better_whichever_way_a_metric_goes(tmp_path: Path) -> None:
    found = _write(tmp_path, _files())
    more = found.ratio(PYLAND, "schbench", "rps")
    less = found.ratio(RUSTLAND, "schbench", "rps")
    assert more
    assert less
    assert less.median < 1 < more.median


def test_a_zero_has_no_ratio_but_to_another(tmp_path: Path) -> None:
    files = _files()
    for run in files["kernel"]["runs"]:
        run["metrics"] = dict.fromkeys(run["metrics"], 0.0)
    files["kernel"]["runs"][0]["metrics"]["wakeup_p99_us"] = 5.0
    ratio = _write(tmp_path, files).ratio(PYLAND, "schbench", "wakeup_p99_us")
    assert ratio == Spread(1.0, 1.0, 1.0, runs=2)


def test_failed_runs_are_counted_and_in_no_figure(tmp_path: Path) -> None:
    files = _files()
    files["kernel"]["runs"].append(
        _run(PYLAND, "schbench", 3, "exit | status\n1", wakeup_p99_us=77777.0)
    )
    found = _write(tmp_path, files)
    text = report.page(found, "", {})
    assert "77,777" not in text
    assert f"| schbench | {PYLAND} | 1 | 4 | exit \\| status 1 |" in text
    assert "1 of 16 runs failed" in report.summary(found)


def test_all_targets_can_be_reached(tmp_path: Path) -> None:
    reached = _reached(_write(tmp_path, _files()))
    measured = {target for target, yes in reached.items() if yes is not None}
    assert all(reached[target] for target in measured)
    # 1: two loads, two figures, twice; 2: two peers; 3: one; 4: kernel twice, and rings; 5.
    assert len(measured) == 8 + 2 + 1 + 3 + 1
    # There is no game in it.
    assert {target.split(",")[0] for target in reached.keys() - measured} == {"game"}


def test_all_targets_can_be_missed(tmp_path: Path) -> None:
    files = _files()
    for run in files["kernel"]["runs"]:
        if run["scheduler"] == PYLAND:
            run["metrics"] = {"wakeup_p99_us": 9e9, "bogo_per_s": 1.0}
    for run in files["cost"]["runs"]:
        run["cost"] = _cost(20_000 if run["scheduler"] == PYLAND else 9000)
    files["scale"]["runs"][1]["cost"] = _cost(20_000, faults=1)
    files["rings"]["benchmarks"][-1]["extra_info"]["us_per_task"] = 0.83
    reached = _reached(_write(tmp_path, files))
    assert {yes for yes in reached.values() if yes is not None} == {False}


@pytest.mark.parametrize(("user", "half"), [(4400, True), (4600, False)])
def test_half_the_cost_is_a_target_of_its_own(tmp_path: Path, user: int, half: bool) -> None:
    files = _files()
    for run in files["cost"]["runs"]:
        run["cost"] = _cost(user if run["scheduler"] == PYLAND else 9000)
    reached = _reached(_write(tmp_path, files))
    assert reached["user-space CPU per dispatched task at full load: at most scx_rustland's"]
    assert reached["user-space CPU per dispatched task at full load: half of that"] is half


@pytest.mark.parametrize(("contended", "share"), [(True, 0.95), (False, 0.98)])
def test_throughput_may_be_a_little_lower(tmp_path: Path, contended: bool, share: float) -> None:
    for value, yes in ((share + 0.001, True), (share - 0.001, False)):
        files = _files()
        files["kernel"]["workloads"]["stress"] |= {"contended": contended}
        files["kernel"]["runs"] = [
            _run("default", "stress", 0, bogo_per_s=1.0),
            _run(PYLAND, "stress", 0, bogo_per_s=value),
        ]
        (verdict,) = (each for each in verdicts(_write(tmp_path, files)) if each.number == 3)
        assert verdict.reached is yes


def test_the_page_has_every_figure(tmp_path: Path) -> None:
    text = report.page(_write(tmp_path, _files()), "## As seen\n\n  verbatim *text*\n", {})
    expected = [
        f"| {PYLAND} | 3 | 300 | 100 to 700 | 2.000 (2.000 to 2.000) | 51.0 |",
        f"| {RUSTLAND} | 3 | 480 | 160 to 1,120 | 1.250 (1.250 to 1.250) | 49.0 |",
        f"| {PYLAND} | 3 | 330 | 141 to 990 | 0.990 (0.990 to 0.990) |",
        f"| low | {PYLAND} | 2 | 2,000 | 500 | 4,000 | 2.00 | 10,000 | 2.50 | 4.0% | 0 |",
        f"| full | {RUSTLAND} | 2 | 4,500 | 500 | 9,000 | 2.00 | 10,000 | 2.50 | 9.0% | 0 |",
        f"| schbench | {PYLAND} | 3 | 2,000 | 500 | 4,000 | 2.00 | 10,000 | 2.50 | 4.0% | 0 |",
        f"| low | {RUSTLAND} | 1.00 | 21.0 | 32.0 | 43.0 |",
        f"| {PYLAND} | 4 | 10,000 | 1 | 2,150 | 500 | 4,300 | 2.00 | 10,000 | 2.50 | 4.3% | 0 |",
        "| cycle | deadline | 10,000 | 3.71 | 0.830 |",
        "| policy | deadline | 64 | 0.410 | 0.470 |",
        "| scx_lavd | not on PATH |",
        "| cpu model | A CPU |",
        "make bench-kernel\nmake bench-cost\n",
        "\n## As seen\n\n  verbatim *text*\n",
        "processors are emulated",
    ]
    assert [line for line in expected if line not in text] == []


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    files = _files()
    text = report.page(_write(tmp_path, {"rings": files["rings"]}), "", {})
    assert text.count("\nNot measured.\n") == 7
    assert "| cycle |" in text
    assert set(_reached(results.load(tmp_path)).values()) == {True, None}


def test_a_bpf_part_that_was_not_counted_is_no_zero(tmp_path: Path) -> None:
    files = {"cost": _files()["cost"]}
    for run in files["cost"]["runs"]:
        run["cost"] = _cost(bpf=0)
    text = report.page(_write(tmp_path, files), "", {})
    assert f"| low | {PYLAND} | 2 | 2,000 | - |" in text


def test_a_summary_for_the_terminal(tmp_path: Path) -> None:
    lines = report.summary(_write(tmp_path, _files())).splitlines()
    assert lines[0] == "schbench: wakeup_p99_us (lower is better)"
    assert [line.split()[0] for line in lines[1:4]] == ["default", "pyland", RUSTLAND]
    assert lines[2].split()[2:] == ["300", "100", "to", "700", "2.000", "times", "as", "good"]


@pytest.mark.parametrize("text", [None, "{", "[]", '{"runs": [{"load": "low"}]}'])
def test_no_results_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    if text is not None:
        (tmp_path / "cost.json").write_text(text, encoding="utf-8")
    output = tmp_path / "page.md"
    assert report.main(["--results", str(tmp_path), "--output", str(output)]) == 2
    assert not output.exists()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert str(tmp_path) in said


def test_a_page_and_its_plots(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    found = _write(tmp_path, _files())
    output, plots = tmp_path / "docs" / "performance.md", tmp_path / "docs" / "performance"
    options = ["--results", tmp_path, "--output", output, "--plots", plots]
    options += ["--remarks", tmp_path / "none.md"]
    assert report.main([str(each) for each in options]) == 0
    images = sorted(plots.iterdir())
    names = ["cost", "ratio", "rings", "scale", "split"]
    assert [image.name for image in images] == [f"{name}.png" for name in names]
    for image in images:
        data = image.read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        assert data.endswith(b"IEND\xaeB`\x82")
        assert len(data) < 60_000
    # Made again from the same files, it is the same to the letter.
    again = report.page(found, "", {name: f"performance/{name}.png" for name in names})
    assert output.read_text(encoding="utf-8") == again


def test_what_supervises_counts_too() -> None:
    alone = Cost(seconds=1, decisions=10, dispatched=20, user_ns=4000, bpf_ns=0, bpf_runs=0)
    watched = replace(alone, others_ns=2000)
    assert (alone.user_each, watched.user_each) == (200, 300)
    assert watched.user == alone.user == 400
