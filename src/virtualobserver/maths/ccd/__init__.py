"""Frames of a detector: overscan, masters, masks, stacks, cosmic rays, variance. Knows no files and no camera."""
