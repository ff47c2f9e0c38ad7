# SPDX-License-Identifier: GPL-2.0-only
"""The description of the machine in the results."""

from __future__ import annotations

import os
import platform
import re
import time
from pathlib import Path
from typing import Any

import psutil


def described(command: str) -> dict[str, Any]:
    """The head of a file of results; `command` repeats the measurement."""
    cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = cpuinfo.split()
    model = re.search(r"^model name\s*: (.*)$", cpuinfo, re.M)
    return {
        "machine": {
            "cpu_model": model[1] if model else platform.machine(),
            "cpus": os.cpu_count() or 1,
            "memory_mib": psutil.virtual_memory().total >> 20,
            "kernel": os.uname().release,
            # QEMU writes TCG into the model name of a processor that it emulates.
            "emulated": bool(model and "TCG" in model[1]) or "tcg" in flags,
            "clock": "instructions" if os.environ.get("PYLAND_BENCH_COUNTED") else "time",
            "kernel_arguments": Path("/proc/cmdline").read_text(encoding="utf-8").strip(),
            "python": platform.python_version(),
            "host_kernel": os.environ.get("PYLAND_BENCH_HOST", ""),
            "qemu": os.environ.get("PYLAND_BENCH_QEMU", ""),
        },
        "command": command,
        "date": time.strftime("%Y-%m-%d"),
    }
