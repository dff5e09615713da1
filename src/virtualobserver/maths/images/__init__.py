"""What is in a calibrated image: background, sources, PSF, zero point, alignment. Knows no detector and no header."""
