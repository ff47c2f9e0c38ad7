# SPDX-License-Identifier: GPL-2.0-only
"""The layer file that `pyland layered --example` writes."""

EXAMPLE = """\
[
  {
    "name": "batch",
    "comment": "system services, and all tasks with a nice value above 0",
    "matches": [[{"CgroupPrefix": "system.slice/"}], [{"NiceAbove": 0}]],
    "kind": {"Confined": {
      "util_range": [0.7, 0.9], "cpus_range_frac": [0.0, 0.5], "slice_us": 20000,
      "min_exec_us": 1000, "weight": 50
    }}
  },
  {
    "name": "urgent",
    "comment": "tasks of the workload that have a nice value below 0",
    "matches": [[{"CgroupPrefix": "workload.slice/"}, {"NiceBelow": 0}]],
    "kind": {"Open": {"slice_us": 5000, "preempt": true, "min_exec_us": 100}}
  },
  {
    "name": "build",
    "comment": "compilers, on cores of their own that the others do not touch",
    "matches": [[{"PcommPrefix": "cc1"}], [{"PcommPrefix": "rustc"}]],
    "kind": {"Grouped": {
      "util_range": [0.5, 0.8], "protected": true, "slice_us": 10000, "growth_algo": "Topo"
    }}
  },
  {
    "name": "normal",
    "comment": "all others",
    "matches": [[]],
    "kind": {"Grouped": {
      "util_range": [0.4, 0.6], "util_includes_open_cputime": true, "growth_algo": "Linear"
    }}
  }
]
"""
