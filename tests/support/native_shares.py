# SPDX-License-Identifier: GPL-2.0-only
"""Shares and quotas of groups, compiled for this machine over groups that a test makes.

The code is that of bpf/group_shares.bpf.h, and of bpf/bandwidth.bpf.h as far as it computes.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Any

from cffi import FFI

from tests.support.native import compiled

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "shares"

_INTERFACE = """
void reset(void);
void make(unsigned number, unsigned parent, unsigned weight);
void run(unsigned number, long long weight);
void limit(unsigned number, unsigned long long quota_ns);
void charge(unsigned number, unsigned long long ns);
bool is_out(unsigned number);
void wait_ns(unsigned long long ns);
void pass_over(void);
unsigned long long effective(unsigned number, unsigned long long weight);
"""

# What the header takes from BPF and from the kernel: two CPUs, and groups in arrays.
_BEFORE = """
#include <stdbool.h>
#include <string.h>
typedef unsigned long long u64; typedef long long s64; typedef unsigned u32; typedef int s32;
#undef __always_inline
#define __always_inline inline
#define __noinline
#define APART static
#define SEC(name)
#define NR 64
#define GROUP_DEPTH_MAX 16
#define GROUP_BEGUN 1
#define PASS_NS 12000000ULL
#define PYLAND_BANDWIDTH_BPF_H
struct task_group { unsigned long shares; };
#define bpf_core_field_exists(field) 1
#define BPF_CORE_READ(group, field) ((group)->field)
static struct { u32 nr_cpu_ids; } config = { 2 };
static struct { u32 used, dominant; } group_state;
static void bpf_loop(u32 nr, long (*each)(u64, void *), void *context, u64 flags)
{
	for (u32 i = 0; i < nr && !each(i, context); i++)
		;
}
"""

_BETWEEN = """
static struct group groups[NR];
static s64 counts[2][NR];
static struct task_group task_groups[NR];
static struct group *group_of(u32 number) { return number < NR ? &groups[number] : NULL; }
static s64 *group_count(s32 cpu, u32 number) { return &counts[cpu][number]; }
static u64 parent_of(u64 tg) { return groups[(struct task_group *)tg - task_groups].parent_tg; }
static void forget_group(struct group *g) { g->tg = 0; }
static u64 quotas[NR];
static void read_quota(struct task_group *k, u64 *quota_ns, u64 *period_ns, u64 *burst_ns)
{
	*quota_ns = quotas[k - task_groups];
	*period_ns = 100000000;
	*burst_ns = 0;
}
"""

_AFTER = """
static u64 now_ns;

void reset(void)
{
	memset(groups, 0, sizeof(groups));
	memset(counts, 0, sizeof(counts));
	memset(quotas, 0, sizeof(quotas));
	memset(&group_state, 0, sizeof(group_state));
	now_ns = 1000000000;
}

void make(unsigned number, unsigned parent, unsigned weight)
{
	struct group *g = &groups[number];

	task_groups[number].shares = (weight * 1024 + 50) / 100 << 10;
	if (g->tg)
		return;
	g->tg = (u64)&task_groups[number];
	g->parent = parent;
	g->parent_tg = parent ? (u64)&task_groups[parent] : 4096;
	g->seen_ns = now_ns;
	if (group_state.used <= number)
		group_state.used = number + 1;
}

/* Counted on one CPU more than there is, and on the other less, as after migrations. */
void run(unsigned number, long long weight)
{
	counts[0][number] = weight + 700;
	counts[1][number] = -700;
}

void limit(unsigned number, unsigned long long quota_ns)
{
	quotas[number] = quota_ns;
}

void charge(unsigned number, unsigned long long ns)
{
	charge_group(groups[number].limited_by, ns);
}

bool is_out(unsigned number)
{
	return has_used_quota(groups[number].limited_by);
}

void wait_ns(unsigned long long ns)
{
	now_ns += ns;
}

void pass_over(void)
{
	now_ns += PASS_NS;
	memset(&pass, 0, sizeof(pass));
	pass.next_ns = PASS_NS;
	pass.now = now_ns;
	share_among_groups(&groups[0]);
}

unsigned long long effective(unsigned number, unsigned long long weight)
{
	const struct group *g = &groups[number];

	return g->share ? weight_in_group(g->share, g->load, weight) : weight << 8;
}
"""


def _part(text: str, begin: str, end: str) -> str:
    at = text.index(begin)
    return text[at : text.index(end, at)]


@cache
def native() -> Any:
    """A module with the functions of the interface; built once for each text of the headers."""
    text = {
        name: (ROOT / "bpf" / f"{name}.bpf.h").read_text(encoding="utf-8")
        for name in ("arithmetic", "group_state", "bandwidth", "group_shares")
    }
    struct = _part(text["group_state"], "struct group {", "/* Memory of its own pages")
    quotas = _part(text["bandwidth"], "/* The next group with a quota", "/* The nearest group of")
    quotas += _part(text["bandwidth"], "/* Begins a new period", "#endif")
    source = "".join(
        (_BEFORE, text["arithmetic"], struct, _BETWEEN, quotas, text["group_shares"], _AFTER)
    ).replace('#include "bandwidth.bpf.h"', "")
    name = f"shares_{hashlib.sha256(source.encode()).hexdigest()[:16]}"

    def declare(ffi: FFI) -> None:
        ffi.cdef(_INTERFACE)
        ffi.set_source(name, source, extra_compile_args=["-O2"])

    return compiled(BUILD, name, declare)
