# SPDX-License-Identifier: GPL-2.0-only
"""The layers of `bench.beside` are what a user could write, and each has a load."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.beside import CASES, contenders
from pyland.policies.layered.reading import read


@pytest.mark.parametrize("case", CASES)
def test_every_load_belongs_to_a_layer_that_pyland_reads(case: str) -> None:
    layers, loads = CASES[case]
    config = read([json.dumps(layers)])
    assert [layer.name for layer in config.layers] == [load.layer for load in loads]


def test_both_have_the_same_layers(tmp_path: Path) -> None:
    layers, _ = CASES["two users"]
    file = tmp_path / "layers.json"
    default, pyland, scx = contenders(layers, file, "scx_layered")
    assert not default.command
    assert json.loads(file.read_text(encoding="utf-8")) == layers
    assert pyland.command[-1] == f"config={json.dumps(layers)}"
    assert scx.command == ("scx_layered", f"f:{file}")
