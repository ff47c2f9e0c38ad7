# SPDX-License-Identifier: GPL-2.0-only
"""Root's side: it loads and attaches BPF, starts and watches the process that decides."""
