"""Searches, a plug-in each: what it looks for, its settings, its pictures.

Opens no file, knows no row and no other search.
"""
