"""Ways out: one file each writes what a project made as another program reads it; nothing of the search itself."""
