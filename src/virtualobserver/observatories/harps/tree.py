"""The per-star tree of the published scripts: written for people who use them, and read as an archive.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from virtualobserver.data.product import Raw, RawRef
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.atomic import write_bytes
from virtualobserver.io.names import safe_name
from virtualobserver.maths.astrometry.positions import published_name
from virtualobserver.maths.spectra import flags
from virtualobserver.maths.spectra.noise import spike_mask
from virtualobserver.observatories.harps.header import Facts
from virtualobserver.observatories.harps.reader import Exposure
from virtualobserver.observatory import Group

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["FORMAT", "exposures", "is_star", "published_window", "raws", "write_star"]

FORMAT: Final = "npy"
PUBLISHED: Final = {"K": 3933.66, "H": 3968.47}
"""Rest wavelengths in air of the published search, Å."""
_C: Final = 3e5
"""km/s, as the published scripts have it."""
_HALF: Final = 1000
"""Pixels on either side of the line, as the published scripts have it."""
_FILES: Final = ("spec/s{}.npy", "wavelength/w{}.npy")


def is_star(folder: Path) -> bool:
    """Say whether a folder is that of one star in such a tree."""
    return (folder / "spec" / "sK.npy").is_file() or (folder / "spec" / "sH.npy").is_file()


def raws(folder: Path) -> Iterator[Raw]:
    """Yield the files of one star that are needed, where they lie."""
    parts = [pattern.format(line) for line in PUBLISHED for pattern in _FILES]
    for part in [*parts, "meta/fits.npy", "meta/group_df.csv"]:
        path = folder / part
        if path.is_file():
            kind = "csv" if path.suffix == ".csv" else FORMAT
            header = {"store": "windows", "tree": folder.name, "part": part}
            yield Raw(f"{folder.name}/{part}", kind, path=path, in_place=True, header=header)


def _load(raw: RawRef) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(io.BytesIO(raw.read()), allow_pickle=False)
    except ValueError as error:
        reason = "holds Python objects, which are never loaded" if "pickle" in str(error) else str(error)
        msg = f"{raw.archive_id}: {reason}"
        raise InvalidFile(msg) from None
    return array


def exposures(found: Sequence[RawRef]) -> list[Exposure]:
    """Return the spectra of one star of a tree; dates come from ``meta/group_df.csv``.

    Raises
    ------
    InvalidFile
        If arrays do not fit together or hold objects.
    """
    parts = {str(raw.header.get("part", "")): raw for raw in found}
    pieces = []
    for line in PUBLISHED:
        flux_raw, wave_raw = parts.get(f"spec/s{line}.npy"), parts.get(f"wavelength/w{line}.npy")
        if flux_raw is None or wave_raw is None:
            continue
        flux, wave = np.atleast_2d(_load(flux_raw)).astype(np.float64), _load(wave_raw).astype(np.float64)
        if flux.shape[1] != wave.size:
            msg = f"{flux_raw.archive_id}: {flux.shape[1]} pixels for {wave.size} wavelengths"
            raise InvalidFile(msg)
        pieces.append((wave, flux))
    if not pieces:
        return []
    count = len(pieces[0][1])
    if any(len(flux) != count for _, flux in pieces):
        msg = f"{found[0].archive_id}: K and H hold different numbers of spectra"
        raise InvalidFile(msg)
    rows = _rows(parts, count)
    names = _names(parts, count)
    return [_exposure(names[n], rows[n], [(wave, flux[n]) for wave, flux in pieces]) for n in range(count)]


def _names(parts: Mapping[str, RawRef], count: int) -> list[str]:
    raw = parts.get("meta/fits.npy")
    names = []
    if raw is not None:
        try:
            names = [Path(str(name)).name for name in np.atleast_1d(_load(raw))]
        except InvalidFile:
            names = []  # written from a list of objects: the spectra are good without their names
    return names if len(names) == count else [f"spectrum {n + 1}" for n in range(count)]


def _rows(parts: Mapping[str, RawRef], count: int) -> list[dict[str, Any]]:
    raw = parts.get("meta/group_df.csv")
    if raw is None:
        return [{} for _ in range(count)]
    import pandas as pd

    frame = pd.read_csv(io.BytesIO(raw.read()))
    if len(frame) != count:
        msg = f"{raw.archive_id}: {len(frame)} rows for {count} spectra"
        raise InvalidFile(msg)
    return [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]


def _exposure(
    name: str, row: Mapping[str, Any], pieces: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]]]
) -> Exposure:
    facts = Facts(instrument="HARPS", mode="HARPS", object=str(row.get("Object", "")))
    for key, column in (
        ("mjd", "MJD"), ("exptime", "Exptime"), ("rv", "CCF RV"), ("berv", "BERV"), ("snr_header", "SNR"),
        ("ra", "RA"), ("dec", "Dec"),
    ):  # fmt: skip
        value = row.get(column)
        if isinstance(value, int | float) and np.isfinite(value):
            setattr(facts, key, float(value))
    exposure = Exposure(name, facts)
    if not np.isfinite(facts.mjd):
        exposure.note(flags.QUALITY_KEYWORD, "no date: meta/group_df.csv with a column MJD is missing")
    exposure.wave = np.concatenate([wave for wave, _ in pieces])
    exposure.flux = np.concatenate([flux for _, flux in pieces])
    exposure.mask = np.concatenate([spike_mask(flux) for _, flux in pieces]).astype(np.uint16)
    return exposure


def published_window(data: SpectrumSet, line: str) -> tuple[NDArray[Any], NDArray[Any]]:
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


def _save(path: Path, array: NDArray[Any]) -> None:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    write_bytes(path, stream.getvalue())


def write_groups(folder: Path, groups: Iterable[Group]) -> int:
    """Write the tree of what a project reduced, one star in memory at a time."""
    return write_tree(folder, ((name, {h.info.series: h.load() for h in found}) for name, _, found in groups))


def write_tree(folder: Path, stars: Iterable[tuple[str, Mapping[str, SpectrumSet]]]) -> int:
    """Write the tree of several stars and return how many there are."""
    return len([write_star(folder, name, sets) for name, sets in stars])
