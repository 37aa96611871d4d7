"""Artifacts, comparison and report."""
