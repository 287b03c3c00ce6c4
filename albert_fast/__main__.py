"""``python -m albert_fast`` is ``albert-fast``."""

from __future__ import annotations

import sys

from albert_fast.cli import main

if __name__ == "__main__":
    sys.exit(main())
