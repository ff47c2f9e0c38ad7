# SPDX-License-Identifier: GPL-2.0-only
"""A Linux CPU scheduler for sched_ext whose brain is a Python class."""
