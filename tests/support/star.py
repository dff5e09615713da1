"""Answers of SIMBAD and Gaia about beta Pictoris, in the forms in which they come."""

import io

import numpy as np
from astropy.io.votable import from_table
from astropy.table import MaskedColumn, Table

from virtualobserver.io.described import write_document

BETA = {
    "main_id": "* bet Pic", "ra": 86.8211987, "dec": -51.0665114, "pmra": 4.65, "pmdec": 83.1, "plx_value": 50.9307,
    "rvz_radvel": 16.84, "sp_type": "A6V", "otype": "PM*", "V": 3.861, "G": 3.823,
    "ids": "* bet Pic|HD  39060|HR  2020|HIP 27321|GJ   219|Gaia DR3 4792774797545800832",
}  # fmt: skip
PLANET = {
    "main_id": "* bet Pic b", "ra": 86.8212, "dec": -51.0665, "otype": "Pl", "ids": "* bet Pic b",
}  # fmt: skip
GAIA = {
    "source_id": [5, 4792774797545800832], "ra": [86.8222, 86.82123], "dec": [-51.0665, -51.06614],
    "pmra": [0.1, 2.5], "pmdec": [0.2, 83.0], "parallax": [0.5, 50.9], "phot_g_mean_mag": [15.0, 3.82],
    "bp_rp": [1.0, 0.26], "radial_velocity": [np.nan, np.nan],
}  # fmt: skip


def answer(columns, form="tabledata"):
    stream = io.BytesIO()
    document = from_table(Table(columns))
    document.set_all_tables_format(form)
    write_document(document, stream)
    return stream.getvalue().replace(
        b'<RESOURCE type="results">', b'<RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/>'
    )


def objects(*rows, form="tabledata"):
    """Return an answer of SIMBAD; what a row does not say is null."""
    columns = {}
    for name, example in BETA.items():
        missing = [name not in row for row in rows]
        empty = "" if isinstance(example, str) else np.nan
        columns[name] = MaskedColumn([row.get(name, empty) for row in rows], mask=missing)
    return answer(columns, form)
