"""Stars drawn out by a moving telescope: their tracks, which star each is, their light along the track and what the air
did to all of them. Knows no camera, no file, no catalogue's format, and searches for no event.
"""
