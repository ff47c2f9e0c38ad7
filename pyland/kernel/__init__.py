# SPDX-License-Identifier: GPL-2.0-only
"""A policy on a real kernel: checks, loading, the dispatch loop and its statistics."""
