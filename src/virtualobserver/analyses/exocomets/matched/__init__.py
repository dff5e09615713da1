"""The search by a matched filter: lines, reference, hits, tracks, classes. Draws nothing and opens no file."""
