"""FITS: whole files, boxes of images, headers as declared, checks of structure. Knows no camera."""
