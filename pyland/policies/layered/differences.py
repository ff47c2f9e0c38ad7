# SPDX-License-Identifier: GPL-2.0-only
"""What pyland does otherwise than a layer file says; each is a sentence for its user."""

from __future__ import annotations

from collections.abc import Iterator

from pyland.policies.layered.layers import Layer, Options

_DEFAULTS = Options()

_UNKNOWN_HERE = {
    "membw_gb": "memory bandwidth is not measured here (it needs resctrl), "
    "so the layer is sized by its CPU time alone",
    "idle_resume_us": "the latency of idle CPUs belongs to root, and a policy does not run as root",
    "idle_smt": "it is deprecated, and has no effect",
    "allow_node_aligned": "it is deprecated, and has no effect",
    "xnuma_threshold": "tasks go to another node when a CPU there would idle, without thresholds",
    "xnuma_threshold_delta": "tasks go to another node when a CPU there would idle, "
    "without thresholds",
    "member_expire_ms": "a task stays in its layer until what its matches read has changed",
}
"""Options that have no effect if they differ from their default, and why that is bearable."""


def about(layer: Layer) -> Iterator[str]:
    """What is not done as the layer says."""
    options = layer.options
    for name, why in _UNKNOWN_HERE.items():
        if getattr(options, name) != getattr(_DEFAULTS, name):
            yield f"{name} has no effect: {why}"
    if layer.policy:
        for name in ("slice_us", "min_exec_us", "fifo"):
            if getattr(options, name) != getattr(_DEFAULTS, name):
                yield f"{name} has no effect: the layer's policy orders its tasks"
    if options.preempt_first and not options.preempt:
        yield "preempt_first has no effect: the layer does not preempt"
    if options.prev_over_idle_core and options.placement == "Sticky":
        yield "prev_over_idle_core has no effect: a Sticky layer's tasks take no other CPU"
    if options.preempt and options.disallow_open_after_us is not None:
        yield "disallow_open_after_us has no effect: the layer preempts"
    if options.disallow_preempt_after_us is not None and layer.preempt_after_ns is None:
        why = "the layer preempts" if options.preempt else "an Open layer has no CPUs of its own"
        yield f"disallow_preempt_after_us has no effect: {why}"
    if options.exclusive and layer.is_open:
        yield "exclusive has no effect: an Open layer has no cores of its own"
    if options.util_peak_half_life_ms and layer.is_open:
        yield "util_peak_half_life_ms has no effect: an Open layer is not sized"
    names = {match.name for ands in layer.matches for match in ands}
    if "HintEquals" in names:
        yield "HintEquals matches no task: no program can give its tasks a hint here"
