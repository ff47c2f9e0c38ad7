# SPDX-License-Identifier: GPL-2.0-only
"""The process that decides: it runs the policy, without rights, on records from BPF."""
