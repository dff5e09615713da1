"""The columns of every table of this package: what each is called, holds, and may hold.

One table feeds the exports (VOTable, VOParquet, FITS, ECSV, HDF5), the manual, the ObsCore view and the checks
of what comes in. A name means one thing everywhere; where one table must differ, its own line is called
``table.column``. `ours` and `obscore` are the lines, `column` is what a line says, `meaning` finds one, `ranges` judges
values by it. Nothing here reads a file or knows a container.
"""

from virtualobserver.columns.column import Column
from virtualobserver.columns.meaning import COLUMNS, band_words, describe, find, units_of
from virtualobserver.columns.obscore import OBSCORE
from virtualobserver.columns.ranges import out_of_range, possible, wrong_kind

__all__ = [
    "COLUMNS",
    "OBSCORE",
    "Column",
    "band_words",
    "describe",
    "find",
    "out_of_range",
    "possible",
    "units_of",
    "wrong_kind",
]
