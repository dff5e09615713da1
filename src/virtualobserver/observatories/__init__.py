"""Surveys, a plug-in each: its archive, its raw format, its reduction, its simulator.

Knows no row and no other survey.
"""
