"""Stars drawn out by a moving telescope: their tracks, where they are, which star each is. Knows no camera, no file."""
