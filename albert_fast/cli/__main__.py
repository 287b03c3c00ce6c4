"""``python -m albert_fast.cli`` is ``albert-fast``."""

from __future__ import annotations

import sys

from .app import main

sys.exit(main())
