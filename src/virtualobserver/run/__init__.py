"""Runs: the only place where sessions, files and plug-ins meet. Computes nothing itself and names no plug-in."""
