"""The PTX emulator; see README.md. ``python -m tests.emulator`` runs a kernel of a PTX file."""
