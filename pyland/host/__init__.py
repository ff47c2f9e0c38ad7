# SPDX-License-Identifier: GPL-2.0-only
"""Checks of this machine, its limits, and its settings that change while pyland runs."""
