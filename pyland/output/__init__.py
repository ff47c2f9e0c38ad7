# SPDX-License-Identifier: GPL-2.0-only
"""What is printed: escaped, encodable, and without waiting for a reader."""
