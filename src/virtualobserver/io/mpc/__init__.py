"""The formats of the Minor Planet Center: names of bodies, 80 columns, ADES. Finds and identifies nothing."""
