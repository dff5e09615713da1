"""Runs: the only place where sessions, files and plug-ins meet."""
