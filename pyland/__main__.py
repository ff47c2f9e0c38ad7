# SPDX-License-Identifier: GPL-2.0-only
"""`python -m pyland` is the `pyland` command."""

import os
import sys

if os.geteuid() == 0 and not sys.flags.isolated:
    # Too late for what Python has read already, but in time for all later imports.
    os.execv(sys.executable, [sys.executable, "-I", "-m", "pyland", *sys.argv[1:]])

from pyland.cli.main import main

sys.exit(main())
