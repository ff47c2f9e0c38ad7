# SPDX-License-Identifier: GPL-2.0-only
"""`pyland top`: what is measured, the pages that are made of it, and the terminal."""
