"""The per-star tree of the published scripts, which the survey ``harps`` reads as an archive.

::

    <star>/spec/sK.npy, sH.npy              flux, shape (n, 2000), float64
    <star>/wavelength/wK.npy, wH.npy        wavelengths in air, Å, shape (2000,)
    <star>/wavelength/rvK.npy, rvH.npy      velocities, c = 3e5 km/s
    <star>/meta/fits.npy                    file names
    <star>/meta/group_df.pkl                a pandas table: one row for each spectrum
    <star>/meta/group_df.csv                the same, which anybody can read

A pickle is written, since the scripts want one, and never read: it could run anything.
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.handles import of_kind
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.errors import DataError
from virtualobserver.export import Export, ExportSettings, Maker, View
from virtualobserver.io.atomic import write_bytes
from virtualobserver.io.names import safe_name
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.spectra import flags

if TYPE_CHECKING:
    import pandas as pd

    from virtualobserver.data.table import Table

__all__ = ["PUBLISHED", "HARPSDataset", "published_name", "published_window", "write_star"]

PUBLISHED: Final = {"K": 3933.66, "H": 3968.47}
"""Rest wavelengths in air of the published search, Å."""

_C: Final = 3e5  # km/s, as the scripts have it
_HALF: Final = 1000  # pixels on each side of the line


class HARPSDataset(Export[ExportSettings]):
    """Tree of spectra by star that the scripts of the published search for exocomets read."""

    name: ClassVar[str] = "harps_dataset"
    needs: ClassVar[str] = "spectra of HARPS"
    counts: ClassVar[str] = "stars"

    def offers(self, view: View) -> bool:
        """Whether the project reduces spectra of HARPS."""
        return bool(_spectrographs(view))

    def write(self, view: View, path: Path, options: ExportSettings) -> int:  # noqa: ARG002
        """Write the tree of what a project reduced, one star in memory at a time; return how many."""
        count = 0
        for maker in _spectrographs(view):
            for group in view.groups(maker):
                spectra = of_kind(group.products, SpectrumSet)
                windows = {one.info.series: one.load() for one in spectra if one.info.series in PUBLISHED}
                write_star(path, group.source, windows)
                count += 1
        return count


def _spectrographs(view: View) -> list[Maker]:
    wanted = ("spectrum", "reduced")
    return [
        one
        for one in view.makers
        if one.kind == "survey" and one.instrument == "HARPS" and wanted in one.makes
    ]


def published_name(name: str) -> tuple[str, str]:
    """Apply the name rules of the published exocomet search: (sanitised, reduced).

    A prefix ``a_`` to ``f_`` goes; the survey names BD, CPD, SW, J, G and LP keep their hyphens, CD, SERAM and
    TYC lose those of their first characters; other hyphens and all underscores become spaces. The reduced
    name is that in lower case without spaces. For people who know those names; identity is position.
    """
    text = name
    if len(text) > 1 and text[0] in "abcdefABCDEF" and text[1] == "_":
        text = text[2:]
    kept = text.startswith(("BD", "CPD", "SW")) or re.match(r"[JG]\d", text)
    if kept or (re.match(r"LP\d", text) and len(text) > 3):
        pass
    elif text.startswith("CD"):
        text = text[:3] + text[3:].replace("-", "")
    elif text.startswith("SERAM") and len(text) > 5:
        text = text[:7].replace("-", "") + text[7:]
    elif text.startswith("TYC"):
        text = text[:5].replace("-", "") + text[5:]
    else:
        text = text.replace("-", " ")
    text = text.replace("_", " ")
    return text, text.lower().replace(" ", "")


def published_window(data: SpectrumSet, line: str) -> tuple[Array, Array]:
    """Return wavelengths (2000,) and flux (n, 2000) of the published cut: no interpolation, no normalisation.

    The first pixel whose wavelength rounds to that of the line is number 1000.

    Raises
    ------
    DataError
        If the grid has not the step 0.01 Å or does not reach far enough.
    """
    found = np.flatnonzero(np.round(data.wave, 2) == PUBLISHED[line])
    if not found.size or found[0] < _HALF or found[0] + _HALF > data.wave.size:
        msg = f"the window of {line} does not hold 1000 pixels of 0.01 Å on both sides of {PUBLISHED[line]}"
        raise DataError(msg)
    cut = slice(found[0] - _HALF, found[0] + _HALF)
    return data.wave[cut], data.flux[:, cut]


def write_star(folder: Path, name: str, sets: Mapping[str, SpectrumSet]) -> Path:
    """Write one star of the tree; what is there is written anew.

    Parameters
    ----------
    folder
        Root of the tree.
    name
        Name of the star; its folder gets the reduced name of the published rules.
    sets
        Line (K, H) to spectra; exposures that are not usable are left out.

    Returns
    -------
    Path
        Folder of the star.
    """
    star = folder / safe_name(published_name(name)[1])
    usable: NDArray[np.bool_] | None = None
    for data in sets.values():
        good = (data.epochs["quality"] & flags.QUALITY_BAD) == 0
        usable = good if usable is None else usable & good
    if usable is None:
        msg = f"source {name}: no spectra to write"
        raise DataError(msg)
    for part in ("spec", "wavelength", "meta"):
        (star / part).mkdir(parents=True, exist_ok=True)
    for line, data in sets.items():
        wave, flux = published_window(data, line)
        rv = _C * (wave - PUBLISHED[line]) / PUBLISHED[line]
        _save(star / "spec" / f"s{line}.npy", flux[usable].astype(np.float64))
        _save(star / "wavelength" / f"w{line}.npy", np.asarray(wave, dtype=np.float64))
        _save(star / "wavelength" / f"rv{line}.npy", rv)
    epochs = next(iter(sets.values())).epochs
    names = [f"{i}.fits" for i in epochs["archive_id"][usable]]
    _save(star / "meta" / "fits.npy", np.array(names, dtype=np.str_))
    frame = _metadata(epochs, usable, *published_name(name))
    write_bytes(star / "meta" / "group_df.csv", frame.to_csv(index=False, lineterminator="\n").encode())
    pickled = io.BytesIO()
    frame.to_pickle(pickled)
    write_bytes(star / "meta" / "group_df.pkl", pickled.getvalue())
    return star


def _metadata(epochs: Table, usable: NDArray[np.bool_], sanitised: str, reduced: str) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        {
            "Object": epochs["object"][usable],
            "MJD": epochs["mjd"][usable],
            "Date": [_iso(mjd) for mjd in epochs["mjd"][usable]],
            "Exptime": epochs["exptime"][usable],
            "SNR": epochs["snr_header"][usable],
            "CCF RV": epochs["rv"][usable],
            "BERV": epochs["berv"][usable],
            "Airmass": epochs["airmass"][usable],
            "Sanitised": sanitised,
            "Reduced": reduced,
            "New Groups": reduced,
        }
    )


def _iso(mjd: float) -> str:
    if not np.isfinite(mjd):
        return ""
    return str(np.datetime64("1858-11-17") + np.timedelta64(round(mjd * 86400000), "ms"))


def _save(path: Path, array: Array) -> None:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    write_bytes(path, stream.getvalue())
