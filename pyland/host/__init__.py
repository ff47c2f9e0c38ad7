# SPDX-License-Identifier: GPL-2.0-only
"""This machine: whether it can be scheduled, and what is set on it while pyland runs."""
