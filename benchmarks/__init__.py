"""Benchmarks: one runnable package or module per claim, `python -m benchmarks.NAME [--quick] [--json]`."""
