# SPDX-License-Identifier: GPL-2.0-only
"""Why the kernel did not take the scheduler, in words that say what would be right."""

import os


def load_problem(libbpf_said: str) -> str:
    """Why the object was not loaded, and what would be right."""
    if "incompatible with vmlinux" in libbpf_said:
        return (
            f"the running kernel ({os.uname().release}) describes its sched_ext functions wrongly, "
            "so that no scheduler can be loaded: it takes one whose BTF was made by pahole 1.31 "
            "or later (--verbose names the function)"
        )
    return f"{libbpf_said} (--verbose shows the verifier's log)"
