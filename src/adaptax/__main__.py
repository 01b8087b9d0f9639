"""`python -m adaptax` is the command line."""

from __future__ import annotations

import sys

from adaptax.cli import main

if __name__ == "__main__":
    sys.exit(main())
