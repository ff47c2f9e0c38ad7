# SPDX-License-Identifier: GPL-2.0-only
"""scx_rusty as a policy: a domain for each cache, and a balancer between them."""
