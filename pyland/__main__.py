# SPDX-License-Identifier: GPL-2.0-only
"""`python -m pyland` is the `pyland` command."""

import sys

from pyland.cli.main import main

sys.exit(main())
