"""Shift and stack: likelihood images, velocities, the search, one row a mover. Knows no files and no survey."""
