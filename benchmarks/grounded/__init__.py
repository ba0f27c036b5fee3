"""Grounded: answers checked against their passages, beside the baselines. See README.md."""
