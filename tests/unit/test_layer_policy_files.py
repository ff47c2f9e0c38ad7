# SPDX-License-Identifier: GPL-2.0-only
"""What a layer file says of policies: mistakes, what has no effect, and what the check shows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from pyland.cli.main import main
from pyland.errors import UsageError
from pyland.policies.layered.policies import part_names
from pyland.policies.layered.reading import read
from pyland.testing import make_topology
from tests.support.layer_policies import confined, mine, with_policy
from tests.support.layered import REST, Loaded, layer


def test_what_a_policy_leaves_without_effect_is_told() -> None:
    one = with_policy(confined("game", fifo=True, slice_us=1000, min_exec_us=5), "rr")
    told = " ".join(read([json.dumps([one, REST])]).warnings)
    for name in ("fifo", "slice_us", "min_exec_us"):
        assert f'layer "game": {name} has no effect: the layer\'s policy orders its tasks' in told


def test_the_names_of_parts() -> None:
    names = ["My game", "my-game", "1st", "日本", "layered", "x" * 50]
    text = json.dumps([{**REST, "name": name} for name in names])
    assert part_names(read([text]).layers) == [
        *("my_game", "l1_my_game", "l2_1st", "l3", "l4_layered", "x" * 22)
    ]


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"policy": "deadlin"}, r':1:\d+: layer "game": "policy" is "deadlin": .*deadline\?'),
        ({"policy": 3}, 'layer "game": "policy" is 3: it takes the name of a policy'),
        ({"policy": ""}, '"policy" is "": it takes the name'),
        ({"policy": "./no.py:X"}, '"./no.py:X": /no.py: No such file'),
        ({"policy": "rr", "options": {"slice": 1}}, 'policy rr has no option "slice"; did you'),
        ({"policy": "rr", "options": {"slice_us": 1}}, "slice_us = 1: it takes a whole number fr"),
        ({"policy": "rr", "options": {"slice_us": [1]}}, '"slice_us" is a list of 1: it takes a'),
        ({"policy": "rr", "options": [1]}, '"options" is a list of 1: it takes an object'),
        ({"options": {"slice_us": 1}}, '"options" are those of "policy", and there is none'),
        ({"polcy": "rr"}, 'a layer has no key "polcy"; did you mean "policy"'),
    ],
)
def test_mistakes_are_told_with_file_layer_and_key(
    keys: Mapping[str, Any], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    game = {**layer("game"), **keys}
    with pytest.raises(UsageError, match=said):
        Loaded([game], make_topology(2))
    assert main(["layered", "--check", json.dumps([game, REST])]) == 2
    assert said.partition('": ')[0].partition(":")[0][:8] in capfd.readouterr().err


@pytest.mark.usefixtures("readable")
def test_the_check_names_the_policy_of_each_layer(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mine(tmp_path)
    file = tmp_path / "layers.json"
    text = [
        with_policy(layer("game"), "./mine.py:Seeing", bonus_ms=4),
        with_policy(layer("build"), "rr"),
        REST,
    ]
    file.write_text(json.dumps(text), encoding="utf-8")
    assert main(["layered", "--check", str(file), "--topology", "cores=4"]) == 0
    told = [line for line in capfd.readouterr().out.splitlines() if "policy:" in line]
    assert [line.split(":", 1)[1].strip() for line in told] == [
        "seeing (./mine.py:Seeing): bonus_ms 4",
        "rr",
        "none of its own: by virtual time",
    ]
    file.write_text(json.dumps([with_policy(layer("game"), "./mine.py:Seing"), REST]), "utf-8")
    assert main(["layered", "--check", str(file)]) == 2
    said = capfd.readouterr().err
    assert f"{file}:1:" in said
    assert 'layer "game": "policy" is "./mine.py:Seing"' in said
    assert "did you mean Seeing?" in said
