# SPDX-License-Identifier: GPL-2.0-only
"""The built-in policies, one file each; also examples for authors."""

import importlib
from pathlib import Path

BUILTINS = {
    "deadline": "pyland.policies.deadline:Deadline",
    "bpfland": "pyland.policies.bpfland:Bpfland",
    "vtime": "pyland.policies.vtime:Vtime",
    "rr": "pyland.policies.rr:RoundRobin",
    "rusty": "pyland.policies.rusty.rusty:Rusty",
    "fifo": "pyland.policies.fifo:Fifo",
    "layered": "pyland.policies.layered.policy:Layered",
}
"""The class of each; a policy is imported when it is needed."""

FOLDER = Path(__file__).parent


def load_all() -> None:
    """Import all of them: later this process may be unable to read their files."""
    for target in BUILTINS.values():
        importlib.import_module(target.partition(":")[0])
