"""Measurements: ``python -m bench COMMAND`` from a checkout; docs/benchmarks.md says what each measures."""
