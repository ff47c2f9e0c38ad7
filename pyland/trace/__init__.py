# SPDX-License-Identifier: GPL-2.0-only
"""Traces: what the kernel scheduled and what pyland decided, for the Perfetto UI."""
