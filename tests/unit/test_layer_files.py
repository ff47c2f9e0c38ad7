# SPDX-License-Identifier: GPL-2.0-only
"""Layer files: what is read, and what is said about mistakes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pyland.errors import UsageError
from pyland.policies.layered import schema
from pyland.policies.layered.layers import GROWTH_ALGORITHMS, Match
from pyland.policies.layered.machines import check_machine
from pyland.policies.layered.reading import Config, read, split_specs
from pyland.testing import make_topology

REST = {"name": "rest", "matches": [[]], "kind": {"Open": {}}}
EVERY_COMMON = {
    "min_exec_us": 100,
    "yield_ignore": 0.25,
    "slice_us": 800,
    "fifo": True,
    "preempt": True,
    "preempt_first": True,
    "exclusive": True,
    "allow_node_aligned": True,
    "skip_remote_node": True,
    "prev_over_idle_core": True,
    "weight": 1000,
    "disallow_open_after_us": 1,
    "disallow_preempt_after_us": None,
    "xllc_mig_min_us": 100,
    "idle_smt": False,
    "growth_algo": "RandomTopo",
    "util_peak_half_life_ms": 5000,
    "perf": 512,
    "idle_resume_us": 20,
    "nodes": [0],
    "llcs": [0],
    "placement": "Sticky",
    "member_expire_ms": 5,
    "xnuma_threshold": [0.5, 0.6],
    "xnuma_threshold_delta": [0.1, 0.2],
}
EVERY_SIZED = {
    "util_range": [0.5, 0.8],
    "cpus_range": [1, 4],
    "membw_gb": 25,
    "protected": True,
}
EVERY_MATCH: list[dict[str, Any]] = [
    {"CgroupPrefix": "a/"},
    {"CgroupSuffix": ".scope/"},
    {"CgroupContains": "x"},
    {"CgroupRegex": "a.*b"},
    {"CommPrefix": "make"},
    {"CommPrefixExclude": "cc"},
    {"PcommPrefix": "bash"},
    {"PcommPrefixExclude": "sh"},
    {"NiceAbove": 0},
    {"NiceBelow": -5},
    {"NiceEquals": 3},
    {"UIDEquals": 1000},
    {"GIDEquals": 100},
    {"PIDEquals": 1},
    {"PPIDEquals": 2},
    {"TGIDEquals": 3},
    {"NSPIDEquals": [4026531836, 1]},
    {"NSEquals": 4026531836},
    {"CmdJoin": "test"},
    {"IsGroupLeader": False},
    {"IsKthread": True},
    {"AvgRuntime": [0, 100]},
    {"NumaNode": 0},
]


def layer(kind: dict[str, Any] | None = None, **keys: Any) -> dict[str, Any]:
    return {"name": "a", "matches": [[{"NiceAbove": 0}]], "kind": kind or {"Open": {}}} | keys


def reading(*layers: dict[str, Any], cgroups: Path = Path("/nonexistent")) -> Config:
    return read([json.dumps([*layers, REST])], cgroups)


def test_every_key_of_the_schema_is_read() -> None:
    confined = reading(layer({"Confined": {**EVERY_SIZED, **EVERY_COMMON}})).layers[0]
    assert confined.kind == "Confined"
    for name, value in {**EVERY_SIZED, **EVERY_COMMON}.items():
        taken = getattr(confined.options, name)
        assert taken == (tuple(value) if isinstance(value, list) else value), name
    own = {"util_includes_open_cputime": True, "idle_confined": True}
    grouped = reading(layer({"Grouped": {**EVERY_SIZED, **EVERY_COMMON, **own}})).layers[0]
    assert grouped.options.util_includes_open_cputime
    assert grouped.options.idle_confined
    opened = reading(layer({"Open": EVERY_COMMON})).layers[0]
    assert opened.is_open
    assert set(EVERY_COMMON) | set(EVERY_SIZED) | set(own) | {"cpus_range_frac"} == set(
        schema.ALL_OPTIONS
    )


def test_every_match_is_read_or_refused_by_its_name() -> None:
    found = reading(layer(matches=[EVERY_MATCH])).layers[0].matches[0]
    assert [match.name for match in found] == [next(iter(match)) for match in EVERY_MATCH]
    hints = reading(layer(matches=[[{"HintEquals": 7}, {"SystemCpuUtilBelow": 0.5}]]))
    assert any("HintEquals matches no task" in warning for warning in hints.warnings)
    reading(layer(matches=[[{"HintEquals": 7}, {"DsqInsertBelow": 0.5}]]))
    for name in schema.GPU_MATCHES:
        with pytest.raises(UsageError, match=f'the match "{name}" cannot be had: .* GPU'):
            reading(layer(matches=[[{name: True}]]))
    tried = {next(iter(match)) for match in EVERY_MATCH}
    assert tried | {"HintEquals", *schema.OFTEN_CHANGING, *schema.GPU_MATCHES} == set(
        schema.MATCHES
    )


@pytest.mark.parametrize("algorithm", GROWTH_ALGORITHMS)
def test_every_growth_algorithm_is_read(algorithm: str) -> None:
    kind = {"Confined": {"util_range": [0.1, 0.9], "growth_algo": algorithm}}
    assert reading(layer(kind)).layers[0].options.growth_algo == algorithm


def test_defaults_are_those_of_scx_layered() -> None:
    one = reading(layer({"Confined": {"util_range": [0.1, 0.9]}})).layers[0]
    assert (one.weight, one.options.growth_algo, one.options.placement) == (
        100,
        "Sticky",
        "Standard",
    )
    assert one.open_after_ns == 40_000_000
    assert one.options.xnuma_threshold == (0.6, 0.7)
    assert one.cpus_range(8) == (0, 8)
    half = reading(layer({"Confined": {"util_range": [0.1, 0.9], "cpus_range_frac": [0, 0.5]}}))
    assert half.layers[0].cpus_range(5) == (1, 2)
    preempting = reading(layer({"Open": {"preempt": True, "disallow_open_after_us": 5}}))
    assert preempting.layers[0].open_after_ns is None
    assert any("disallow_open_after_us has no effect" in line for line in preempting.warnings)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"matches": [[{"CommPrefx": "x"}]]}, 'no match "CommPrefx"; did you mean "CommPrefix"'),
        ({"matches": [{"CommPrefix": "x"}]}, "an alternative is an object: it takes a list"),
        ({"matches": [[{"CommPrefix": 3}]]}, '"CommPrefix" is 3: it takes a text'),
        ({"matches": [[{"CommPrefix": "x" * 17}]]}, "at most 16 bytes"),
        ({"matches": [[{"NiceAbove": True}]]}, '"NiceAbove" is true: it takes a whole number'),
        ({"matches": [[{"AvgRuntime": [1]}]]}, "a list of two numbers, such as"),
        ({"matches": [[{"CgroupRegex": "a("}]]}, "no regular expression"),
        ({"matches": [[{"NiceAbove": 1, "UIDEquals": 2}]]}, "write an object for each"),
        ({"matches": []}, 'its "matches" is empty'),
        ({"matches": [[]] * 33}, "33 alternatives; the most are 32"),
        ({"matches": [[{"DsqInsertBelow": 0.5}]]}, 'only with one "HintEquals"'),
        ({"matches": [[{"HintEquals": 1}, {"NiceAbove": 0}]]}, "goes with no match but"),
        ({"matches": [[{"HintEquals": 1025}]]}, "from 0 to 1024"),
        ({"kind": {"Opn": {}}}, 'no kind "Opn"; did you mean "Open"'),
        ({"kind": {"Open": {}, "Grouped": {}}}, "are in one object"),
        ({"kind": "Open"}, 'a "kind" is "Open": it takes an object with one key'),
        ({"kind": {"Open": {"slise_us": 1}}}, 'no option "slise_us"; did you mean "slice_us"'),
        ({"kind": {"Open": {"slice_us": -1}}}, "a whole number from 0 to 1000000"),
        ({"kind": {"Open": {"weight": 10001}}}, "from 0 to 10000"),
        ({"kind": {"Open": {"growth_algo": "Toppo"}}}, 'did you mean "Topo"'),
        ({"kind": {"Open": {"fifo": 1}}}, '"fifo" is 1: it takes true or false'),
        ({"kind": {"Open": {"perf": 1025}}}, "from 0 to 1024"),
        ({"kind": {"Confined": {}}}, '"Confined" needs "util_range"'),
        ({"kind": {"Confined": {"util_range": [0.9, 0.5]}}}, "has to be lower than the second"),
        (
            {"kind": {"Confined": {"util_range": [0, 1], "cpus_range": [5, 4]}}},
            "the first, 5, has to be lower than the second, 4",
        ),
        (
            {
                "kind": {
                    "Grouped": {
                        "util_range": [0, 1],
                        "cpus_range": [1, 2],
                        "cpus_range_frac": [0, 1],
                    }
                }
            },
            "only one can be given",
        ),
        ({"slice_us": 800}, 'belongs into the object of the kind: "kind"'),
        ({"mathces": []}, 'no key "mathces"; did you mean "matches"'),
        ({"template": {"CommPrefix": "x"}}, "a template by"),
        ({"name": ""}, "a text of 1 to 128 characters"),
    ],
)
def test_mistakes_are_told_with_place_layer_and_remedy(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        reading(layer(**keys))
    told = str(error.value)
    assert said in told
    assert told.startswith("layers[1]:1:")
    assert "\n" not in told
    assert 'layer "a"' in told or "name" in keys


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "1:2: no JSON: it ends here"),
        ('[\n {"name": "a",\n  "kind": {},}]', '3:14: no JSON: there is a "," before this "}"'),
        ('[{"name" "a"}]', 'a ":" is missing after the key "name"'),
        ('[{"name": "a" "kind": 1}]', 'a "," or "}" is missing here (the "{" is in line 1)'),
        ('[{"name": "a", "name": "b"}]', 'the key "name" is there twice'),
        ("[{name: 1}]", 'a key in "" is missing here'),
        ("[// all\n]", "it takes no comments"),
        ("[NaN]", "'NaN' is no value"),
        ("[1] 2", "there is more after the end"),
        ("{}", "a layer file is a list of layers"),
        ("[3]", "and this is 3"),
        ("[]", "there is no layer"),
        ('[{"nmae": "a"}]', 'no key "name"; is "nmae" meant?'),
        ("[" * 100, "too many lists within lists"),
        (f"[{'9' * 5000}]", "1:2"),
        ('[{"name": "a", "kind": {"Open": {}}}]', 'the key "matches" is missing'),
        (json.dumps([REST, layer()]), 'its "matches" has to be [[]]'),
        (json.dumps([layer()] * 17 + [REST]), "18 layers; the most are 16"),
    ],
)
def test_texts_that_are_no_layer_file(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read([text])
    assert said in str(error.value)


def test_a_hint_belongs_to_one_layer() -> None:
    hint = [[{"HintEquals": 7}]]
    with pytest.raises(UsageError, match='the hint 7 is that of layer "a" already'):
        reading(layer(matches=hint), layer(matches=hint, name="b"))
    reading(layer(matches=hint * 2))


def test_an_option_of_another_kind_is_a_warning() -> None:
    config = reading(layer({"Open": {"util_range": [0.1, 0.9]}}))
    assert config.layers[0].options.util_range is None
    assert ['layer "a": util_range has no effect in Open layers' in w for w in config.warnings] == [
        True
    ]


def test_files_and_texts_follow_one_another(tmp_path: Path) -> None:
    first, second = tmp_path / "a.json", tmp_path / "b.json"
    first.write_text(json.dumps([layer()]), encoding="utf-8")
    second.write_text(json.dumps([layer(name="b")]), encoding="utf-8")
    config = read([f"f:{first}", f"file:{second}", json.dumps([REST])])
    assert [one.name for one in config.layers] == ["a", "b", "rest"]
    assert config.layers[1].place == f"{second}:1:2"
    assert split_specs(f"f:{first}, {second}") == [f"f:{first}", str(second)]
    assert split_specs(' [{"a": 1}, 2]') == [' [{"a": 1}, 2]']
    second.write_bytes(b"[\xff]")
    with pytest.raises(UsageError, match="byte 1 is no UTF-8"):
        read([str(second)])
    with pytest.raises(UsageError, match=r"none\.json: No such file"):
        read([f"f:{tmp_path}/none.json"])


def test_a_template_becomes_a_layer_for_each_cgroup(tmp_path: Path) -> None:
    for path in ("top/one-app", "top/two-app", "other"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "top/two-app/cpuset.cpus.effective").write_text("0,2-3\n", encoding="ascii")
    made = layer(template={"CgroupSuffix": "-app/"}, matches=[[{"CgroupPrefix": "top/"}]])
    one, two, rest = reading(made, cgroups=tmp_path).layers
    assert (one.name, two.name, rest.name) == ("atop/one-app/", "atop/two-app/", "rest")
    assert one.matches == ((Match("CgroupPrefix", "top/"), Match("CgroupSuffix", "top/one-app/")),)
    assert (one.cpuset, two.cpuset) == (None, 0b1101)
    by_regex = layer(template={"CgroupRegex": "cgroup/top/t"})
    assert [x.name for x in reading(by_regex, cgroups=tmp_path).layers] == ["atop/two-app/", "rest"]
    # Without such a cgroup it is a layer like others.
    alone = reading(layer(template={"CgroupSuffix": "none"}), cgroups=tmp_path).layers[0]
    assert (alone.name, alone.matches) == ("a", ((Match("NiceAbove", 0),),))


def test_a_layer_for_nodes_that_are_not_there() -> None:
    config = reading(layer({"Open": {"nodes": [0, 2]}}))
    with pytest.raises(UsageError, match=r'"nodes" has 2: this machine has 0 to 1'):
        check_machine(config.layers, make_topology(4, nodes=2))
    check_machine(config.layers, make_topology(6, nodes=3))
