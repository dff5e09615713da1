"""Keeping files and rows together: verify, sweep, prune, delete."""
