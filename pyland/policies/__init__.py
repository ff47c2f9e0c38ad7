# SPDX-License-Identifier: GPL-2.0-only
"""The built-in policies: one file each, to be read as examples."""

BUILTINS = {
    "deadline": "pyland.policies.deadline:Deadline",
    "bpfland": "pyland.policies.bpfland:Bpfland",
    "vtime": "pyland.policies.vtime:Vtime",
    "rr": "pyland.policies.rr:RoundRobin",
    "fifo": "pyland.policies.fifo:Fifo",
}
"""Where each is; none is imported before it is asked for."""
