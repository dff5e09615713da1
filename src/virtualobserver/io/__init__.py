"""Files and archives: one store for all that is kept, formats, downloads. Knows no row, no survey and no search."""
