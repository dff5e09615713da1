"""The vetting page: candidates shown one by one on a page of this machine, and what people say of them kept.

Serves this machine only and loads nothing from outside. Finds nothing itself and names no survey and no analysis.
"""
