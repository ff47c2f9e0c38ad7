# SPDX-License-Identifier: GPL-2.0-only
"""`pyland layered`: the example that it writes, and what it says of a layer file."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pyland.cli.main import main
from pyland.policies.layered.example import EXAMPLE
from pyland.topology import read_topology

REST = {"name": "rest", "matches": [[]], "kind": {"Open": {}}}


def test_the_command_writes_an_example_and_checks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "example.json"
    assert main(["layered", "--example", str(path)]) == 0
    assert path.read_text(encoding="utf-8") == EXAMPLE
    assert main(["layered", "--example", str(path)]) == 2
    assert "stays as it is" in capsys.readouterr().err
    topology = "nodes=2,llcs=1,cores=4,threads=2"
    assert main(["layered", "--check", str(path), "--topology", topology]) == 0
    shown = capsys.readouterr()
    assert not shown.err
    assert "16 CPUs, 8 cores, 2 LLCs, 2 nodes" in shown.out
    assert "build: Grouped" in shown.out
    assert "cgroup begins with 'system.slice/' or nice above 0" in shown.out
    idle, busy = shown.out.split("CPUs while ")[1:]
    assert "node 0, LLC 0, CPUs 0 to 7:  00 11 11 11" in idle
    assert all(sign in busy for sign in "0123")


@pytest.mark.parametrize(
    "topology", ["cores=0", "cores=x", "chips=1", "/nonexistent", "cores=1025"]
)
def test_a_wrong_topology_is_one_line(topology: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layered", "--check", json.dumps([REST]), "--topology", topology]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_command_tells_what_is_not_done(capsys: pytest.CaptureFixture[str]) -> None:
    kind = {"Confined": {"util_range": [0.1, 0.9], "membw_gb": 5}}
    layer = {"name": "a", "matches": [[{"NiceAbove": 0}]], "kind": kind}
    assert main(["layered", "--check", json.dumps([layer, REST])]) == 0
    told = capsys.readouterr().err
    assert 'pyland: warning: layers[1]:1:2: layer "a": membw_gb has no effect: ' in told


def test_the_check_tells_of_cpus_that_this_process_may_not_use(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """As in a cgroup with a CPU set; of another machine nothing is told."""
    mine = os.sched_getaffinity(0)
    online = read_topology().online
    try:
        os.sched_setaffinity(0, {online[0]})
        assert main(["layered", "--check", json.dumps([REST])]) == 0
        told = capfd.readouterr().err
        assert main(["layered", "--check", json.dumps([REST]), "--topology", "cores=4"]) == 0
        assert capfd.readouterr().err == ""
    finally:
        os.sched_setaffinity(0, mine)
    if len(online) > 1:
        assert f"of all {len(online)} CPUs, and this process" in told
        assert f"may not use {online[1]}" in told
    assert main(["layered", "--check", json.dumps([REST])]) == 0
    assert "may not use" not in capfd.readouterr().err or mine != {*online}
