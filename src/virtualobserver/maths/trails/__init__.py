"""Stars drawn out by a moving telescope: tracks, which star is which, their light. Knows no camera and no file."""
