"""Where small bodies are: orbits, their motion among the planets, and how they look from a telescope.

Positions are au, velocities au/d, in the axes of the ICRS from the Sun; times of orbits are MJD in TDB. Nothing is
fetched: planets come from the theories inside astropy.
"""
