"""Benchmarks: which optimizer wins, and what a search costs."""
