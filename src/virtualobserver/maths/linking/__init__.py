"""Linking of source lists: what moves evenly from image to image, and from night to night. No pixels, no files."""
