"""The files of KBMOD: WorkUnits, ImageCollection, Results, search parameters. Searches nothing."""
