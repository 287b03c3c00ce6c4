"""Writes small folders that are as published ALBERTs are in all but the numbers and the widths.

    python scripts/make_published_fixtures.py OUT [FAMILY ...]     # all families by default; --list names them

Names, order and dtypes of tensors, extra buffers, formats, fields of ``config.json`` of their year, and the files of
their tokenizers; tests/test_families.py runs everything on each.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))


def main() -> None:
    """Writes the folders."""
    from published import FAMILIES

    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        print("\n".join(FAMILIES))
        return
    if not arguments or (unknown := sorted(set(arguments[1:]) - set(FAMILIES))):
        sys.exit(f"no such family: {unknown[0]}" if arguments else __doc__)
    for name in arguments[1:] or FAMILIES:
        folder = Path(arguments[0]) / name.replace(" ", "-")
        folder.mkdir(parents=True)
        FAMILIES[name].write(folder)
        print(folder)


if __name__ == "__main__":
    main()
