# SPDX-License-Identifier: GPL-2.0-only
"""Finding, trusting and importing policies."""
