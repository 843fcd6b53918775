"""Attacks over targets, distances and budgets, against the best of them all: `python -m benchmarks.frontier`."""
