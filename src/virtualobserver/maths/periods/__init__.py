"""Periods of light curves: periodograms, and Fourier series with own offsets of nights.

`gls` is the generalised Lomb-Scargle periodogram with all it says about its peak; `rotation` finds the rotation
period of a small body. Knows nothing of magnitudes or surveys.
"""
