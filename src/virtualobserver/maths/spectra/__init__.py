"""Spectra: lines, noise, flags, orders of an echelle. Knows no instrument."""
