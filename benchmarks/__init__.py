"""Measurements of speed, beside other libraries where they are installed: see ``python -m benchmarks --help``."""
