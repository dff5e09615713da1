"""Keeping files and rows together: verify, sweep, prune, delete.

Computes nothing and never touches an archive's files.
"""
