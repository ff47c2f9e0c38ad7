# SPDX-License-Identifier: GPL-2.0-only
"""The built-in policies: one file each, to be read as examples."""

import importlib
from pathlib import Path

BUILTINS = {
    "deadline": "pyland.policies.deadline:Deadline",
    "bpfland": "pyland.policies.bpfland:Bpfland",
    "vtime": "pyland.policies.vtime:Vtime",
    "rr": "pyland.policies.rr:RoundRobin",
    "fifo": "pyland.policies.fifo:Fifo",
}
"""Where each is; none is imported before it is asked for."""

FOLDER = Path(__file__).parent


def load_all() -> None:
    """Import them all: later their files may be out of this process's reach."""
    for target in BUILTINS.values():
        importlib.import_module(target.partition(":")[0])
