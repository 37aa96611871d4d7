"""Sweeps, searches and clusters: many runs, and what is there of them."""
