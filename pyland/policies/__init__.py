# SPDX-License-Identifier: GPL-2.0-only
"""The policies that come with pyland, one per file."""
