"""Benchmarks: ratios within one run, medians of alternating repeats. ``make bench`` writes docs/benchmarks.md."""
