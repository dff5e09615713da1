"""Linking of source lists: what moves evenly from image to image among sources that stay. No pixels, no files."""
