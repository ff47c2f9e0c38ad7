# SPDX-License-Identifier: GPL-2.0-only
"""`pyland layers`, against a real server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pyland.cli.main import main
from tests.support.statistics import Kernel, serving


@pytest.fixture
def kernel() -> Kernel:
    kernel = Kernel()
    values = {"util": 1.5, "cpus": 2, "mask": 0b1010, "tasks": 3, "load": 2.25, "waiting": 1}
    for column, value in (values | {"open": 0.25, "moved": 4, "asked": 30, "wait_us": 12}).items():
        kernel.own.gauge(f"l0_web_{column}", value)
    kernel.own.gauge("l0_web_fewest", 1)
    kernel.own.gauge("l0_web_most", 3)
    kernel.own.gauge("l1_rest_util", 0.5)
    kernel.own.gauge("l1_rest_cpus", 0)
    kernel.own.gauge("l1_rest_mask", 0)
    kernel.own.gauge("another", 7)
    return kernel


def test_a_row_for_each_layer(
    kernel: Kernel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "stats")
    with serving(kernel, path):
        assert main(["layers", "--once", "--interval", "0.1", "--stats-socket", path]) == 0
    head, web, rest, total = capfd.readouterr().out.splitlines()
    assert head.split() == [
        *("layer", "util", "open%", "load", "tasks", "wait", "wait_us", "asked", "moved", "cpus"),
        *("range", "mask"),
    ]
    shown = ["web", "1.50", "25", "2.25", "3", "1", "12", "30", "4", "2", "1-3", "a", "[1,3]"]
    assert web.split() == shown
    assert rest.split() == ["rest", "0.50", *["-"] * 7, "0", "-", "none"]
    assert total.startswith("all: util 2.00 of 2 CPUs, ")


def test_json_has_what_is_known(
    kernel: Kernel, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "stats")
    arguments = ["layers", "--once", "--json", "--interval", "0.1", "--stats-socket", path]
    with serving(kernel, path):
        assert main(arguments) == 0
    found = json.loads(capfd.readouterr().out)
    assert [one["layer"] for one in found["layers"]] == ["web", "rest"]
    assert found["layers"][0]["mask"] == 10
    assert found["layers"][1] == {"layer": "rest", "util": 0.5, "cpus": 0, "mask": 0}


def test_another_policy_has_no_layers(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = str(tmp_path / "stats")
    with serving(Kernel(), path):
        assert main(["layers", "--once", "--interval", "0.1", "--stats-socket", path]) == 0
    assert capfd.readouterr().out == "the policy is deadline: it has no layers to show\n"


def test_a_wrong_interval_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", "--interval", "0"]) == 2
    assert "it takes 0.1 to 3600 seconds" in capfd.readouterr().err
