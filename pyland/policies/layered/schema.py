# SPDX-License-Identifier: GPL-2.0-only
"""Every key and every match of a layer file, and the values that each takes.

The names, types and defaults are those of scx_layered 1.1.2 (its config.rs), so that its files are
read unchanged.
"""

from __future__ import annotations

from pyland.policies.layered.layers import GROWTH_ALGORITHMS, MOST_WEIGHT, PLACEMENTS, Kind
from pyland.policies.layered.values import (
    U32_MAX,
    U64_MAX,
    Take,
    a_bool,
    many,
    maybe,
    one_of,
    ordered,
    pair,
    real,
    text,
    whole,
)

_SLICE_MOST_US = 1_000_000
"""A slice of more than a second is taken for a mistake in the unit."""

LAYERS_MAX = 16
ORS_MAX = 32
REGEXES_MAX = 16
NAME_MAX = 128
HINT_MAX = 1024
_PATH_MAX = 4096
_COMM_MAX = 16

_fraction = real(0, 1)
_u32 = whole(0, U32_MAX)
_nice = whole(-(1 << 31), (1 << 31) - 1)

LAYER_KEYS = ("name", "comment", "template", "matches", "kind", "policy", "options")
"""The last two are pyland's own: scx_layered does not have them."""
SPEC_MAX = 4096

_COMMON: dict[str, Take] = {
    "min_exec_us": whole(),
    "yield_ignore": _fraction,
    "slice_us": whole(0, _SLICE_MOST_US),
    "fifo": a_bool,
    "preempt": a_bool,
    "preempt_first": a_bool,
    "exclusive": a_bool,
    "allow_node_aligned": maybe(a_bool),
    "skip_remote_node": a_bool,
    "prev_over_idle_core": a_bool,
    "weight": whole(0, MOST_WEIGHT),
    "disallow_open_after_us": maybe(whole()),
    "disallow_preempt_after_us": maybe(whole()),
    "xllc_mig_min_us": real(),
    "idle_smt": maybe(a_bool),
    "growth_algo": one_of(GROWTH_ALGORITHMS),
    "util_peak_half_life_ms": whole(),
    "perf": whole(0, 1024),
    "idle_resume_us": maybe(_u32),
    "nodes": many(whole(0, U32_MAX)),
    "llcs": many(whole(0, U32_MAX)),
    "placement": one_of(PLACEMENTS),
    "member_expire_ms": whole(),
    "xnuma_threshold": pair(real(), real(), "[0.6, 0.7]"),
    "xnuma_threshold_delta": pair(real(), real(), "[0.2, 0.3]"),
}
_SIZED: dict[str, Take] = {
    "util_range": ordered(pair(real(), real(), "[0.5, 0.8]"), equal=False),
    "cpus_range": maybe(ordered(pair(whole(), whole(1), "[1, 8]"), equal=True)),
    "cpus_range_frac": maybe(ordered(pair(_fraction, _fraction, "[0.25, 0.5]"), equal=True)),
    "membw_gb": maybe(real()),
    "protected": a_bool,
}
_GROUPED: dict[str, Take] = {"util_includes_open_cputime": a_bool, "idle_confined": a_bool}

KINDS: dict[Kind, dict[str, Take]] = {
    "Confined": {**_SIZED, **_COMMON},
    "Grouped": {**_SIZED, **_GROUPED, **_COMMON},
    "Open": _COMMON,
}
"""The options of each kind."""
ALL_OPTIONS = KINDS["Grouped"]
NEEDED = {"Confined": ("util_range",), "Grouped": ("util_range",), "Open": ()}
"""The options without a default."""

MATCHES: dict[str, Take] = {
    "CgroupPrefix": text(_PATH_MAX),
    "CgroupSuffix": text(_PATH_MAX),
    "CgroupContains": text(_PATH_MAX),
    "CgroupRegex": text(_PATH_MAX),
    "CommPrefix": text(_COMM_MAX),
    "CommPrefixExclude": text(_COMM_MAX),
    "PcommPrefix": text(_COMM_MAX),
    "PcommPrefixExclude": text(_COMM_MAX),
    "NiceAbove": _nice,
    "NiceBelow": _nice,
    "NiceEquals": _nice,
    "UIDEquals": _u32,
    "GIDEquals": _u32,
    "PIDEquals": _u32,
    "PPIDEquals": _u32,
    "TGIDEquals": _u32,
    "NSPIDEquals": pair(whole(0, U64_MAX), _u32, "[4026531836, 1]"),
    "NSEquals": _u32,
    "CmdJoin": text(_COMM_MAX),
    "IsGroupLeader": a_bool,
    "IsKthread": a_bool,
    "UsedGpuTid": a_bool,
    "UsedGpuPid": a_bool,
    "AvgRuntime": pair(whole(), whole(), "[0, 1000]"),
    "HintEquals": whole(0, HINT_MAX),
    "SystemCpuUtilBelow": _fraction,
    "DsqInsertBelow": _fraction,
    "NumaNode": _u32,
}
"""The argument of each match."""

TEMPLATE_MATCHES = ("CgroupSuffix", "CgroupRegex")
GPU_MATCHES = ("UsedGpuTid", "UsedGpuPid")
OFTEN_CHANGING = ("SystemCpuUtilBelow", "DsqInsertBelow")
"""Such a match must stand beside one `HintEquals`, and beside no other match."""
