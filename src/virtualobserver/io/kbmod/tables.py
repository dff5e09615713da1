"""KBMOD's tables: ImageCollection (which images there are) and Results (what was found)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
import pandas as pd
from astropy.io import fits as afits
from astropy.table import Table as AstropyTable

from virtualobserver.columns import out_of_range, wrong_kind
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.atomic import replacing, write_bytes
from virtualobserver.io.fits.structure import quiet, silent
from virtualobserver.io.kbmod.config import yaml_scalar
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.shiftstack.images import Frames
from virtualobserver.maths.shiftstack.stamps import Coadd, coadd
from virtualobserver.typing import Record, RecordDict

if TYPE_CHECKING:
    from virtualobserver.maths.shiftstack.explain import Mover

__all__ = [
    "KbmodResults",
    "read_image_collection",
    "read_results",
    "results_of",
    "write_image_collection",
    "write_results",
]

_REQUIRED: Final = ("mjd_mid", "ra", "dec", "wcs", "obs_lon", "obs_lat", "obs_elev")
_INTERNAL: Final = {"std_name": "virtualobserver", "config": "{}"}
_NAMED: Final = ("x", "y", "vx", "vy", "likelihood", "flux", "obs_count")
_FORMATS: Final = {".ecsv": "ascii.ecsv", ".parquet": "parquet", ".hdf5": "hdf5", ".h5": "hdf5"}


@dataclass(frozen=True, eq=False)
class KbmodResults:
    """A table of results; all columns have one row per trajectory.

    Parameters
    ----------
    columns
        ``x, y`` (whole pixels), ``vx, vy`` (px/d), ``likelihood, flux, obs_count, uuid``, and, where present,
        ``psi_curve, phi_curve`` (float32, shape (n, images)), ``obs_valid`` (bool), ``coadd_<type>`` (float32,
        shape (n, w, w)) and any others.
    meta
        ``num_img, dims, mjd_mid, mjd_utc_mid, wcs`` ...

    Raises
    ------
    DataError
        If a column of a trajectory is missing or the columns differ in length.
    """

    columns: Mapping[str, Array]
    meta: Record = field(default_factory=dict)

    def __post_init__(self) -> None:
        if missing := [name for name in _NAMED if name not in self.columns]:
            msg = f"a table of results lacks {', '.join(missing)}"
            raise DataError(msg)
        if len({len(values) for values in self.columns.values()}) > 1:
            msg = "columns of a table of results differ in length"
            raise DataError(msg)

    def __len__(self) -> int:
        return len(self.columns["x"])

    def to_frame(self) -> pd.DataFrame:
        """Return the columns of one number or word per trajectory; `meta` is in ``attrs``."""
        plain = {name: np.asarray(values) for name, values in self.columns.items() if np.ndim(values) == 1}
        frame = pd.DataFrame(plain)
        frame.attrs.update(self.meta)
        return frame


def results_of(
    movers: Sequence[Mover],
    frames: Frames,
    *,
    coadds: Sequence[Coadd] = ("sum",),
    radius: int = 10,
    wcs: Record | None = None,
) -> KbmodResults:
    """Build the table from movers; the likelihood is that of the epochs marked in ``obs_valid``."""
    x, y = (np.array([np.floor(getattr(m.path, k) + 0.5) for m in movers], np.int64) for k in ("x", "y"))
    columns: dict[str, Array] = {"x": x, "y": y}
    columns |= {k: np.array([getattr(m.path, k) for m in movers], np.float64) for k in ("vx", "vy")}
    columns["likelihood"] = np.array([m.likelihood for m in movers], np.float64)
    columns["flux"] = np.array([m.path.flux for m in movers], np.float64)
    columns["obs_count"] = np.array([m.n_obs for m in movers], np.int64)
    keys = [
        f"{frames.mjd[0]:.8f}/{m.path.x:.4f}/{m.path.y:.4f}/{m.path.vx:.4f}/{m.path.vy:.4f}" for m in movers
    ]
    columns["uuid"] = np.array([uuid.uuid5(uuid.NAMESPACE_OID, key).hex for key in keys], dtype="U32")
    shape = (len(movers), len(frames.mjd))
    for name, curve in (("psi_curve", "psi"), ("phi_curve", "phi")):
        columns[name] = np.array([getattr(m, curve) for m in movers], np.float32).reshape(shape)
    columns["obs_valid"] = np.array([m.kept for m in movers], bool).reshape(shape)
    side = 2 * radius + 1
    for kind in coadds:
        made = [
            coadd(frames, *m.path.at(frames.tau), kind=kind, radius=radius, epochs=m.kept) for m in movers
        ]
        columns[f"coadd_{kind}"] = np.array(made, np.float32).reshape(len(movers), side, side)
    _, height, width = frames.science.shape
    meta = {
        "num_img": len(frames.mjd),
        "dims": [width, height],
        "mjd_mid": frames.mjd.tolist(),
        "mjd_utc_mid": frames.mjd.tolist(),
    }
    if wcs is not None:
        meta["wcs"] = json.dumps(dict(wcs))
    return KbmodResults(columns, meta)


def write_results(path: str | Path, results: KbmodResults, *, config: Record | None = None) -> None:
    """Write ECSV, Parquet or HDF5, after the suffix; `config` goes beside it where KBMOD looks for it.

    Raises
    ------
    DataError
        If the suffix is none of these.
    """
    path = Path(path)
    kind = _format(path)
    table = AstropyTable({name: np.asarray(values) for name, values in results.columns.items()})
    table.meta = dict(results.meta)
    # images as flat rows, which every format keeps; their shapes travel in the meta data
    least = 2 if len(table) else 1  # of an empty table ECSV loses curves as well
    shapes = {name: list(table[name].shape[1:]) for name in table.colnames if table[name].ndim > least}
    for name, shape in shapes.items():
        flat = (len(table), int(np.prod(shape))) if len(table) else (0,)
        table[name] = (
            np.zeros(0, table[name].dtype) if flat == (0,) else np.asarray(table[name]).reshape(flat)
        )
    table.meta["image_column_shapes"] = shapes
    options: RecordDict = {"overwrite": True}
    if kind == "hdf5":
        options |= {"path": "__astropy_table__", "serialize_meta": True}
    with silent(), replacing(path) as temporary:
        table.write(temporary, format=kind, **options)
    if config is not None:
        text = "".join(
            f"{name}: {yaml_scalar(value).removesuffix(chr(10) + '...')}\n" for name, value in config.items()
        )
        base = path.stem
        write_bytes(path.parent / f"{base}_provenance" / f"{base}_config.yaml", text.encode())


def read_results(path: str | Path) -> KbmodResults:
    """Read a table of results.

    Raises
    ------
    DataError
        If the suffix is unknown or a column of a trajectory is missing.
    InvalidFile
        If the file is damaged.
    """
    path = Path(path)
    kind = _format(path)
    with quiet(path, 0):
        table = AstropyTable.read(path, format=kind)
    meta = {key: value for key, value in table.meta.items() if not key.startswith("__")}
    shapes = meta.pop("image_column_shapes", {})
    columns = {}
    for name in table.colnames:
        values = np.asarray(table[name])
        if values.dtype == object:  # Parquet gives lists
            values = np.array([np.asarray(row) for row in values])
        if values.dtype.kind == "S":
            values = values.astype("U")
        if name in shapes:
            values = values.reshape(len(values), *(int(side) for side in shapes[name]))
        columns[name] = values
    return KbmodResults(columns, meta)


def write_image_collection(path: str | Path, images: pd.DataFrame, *, pack: bool = True) -> None:
    """Write an ImageCollection: ECSV, or a FITS table named IMGCOLL.

    Parameters
    ----------
    images
        One row per image: ``mjd_mid`` (MJD, UTC), ``ra, dec`` (deg, centre), ``wcs`` (JSON of header cards with
        NAXIS1 and NAXIS2), ``obs_lon, obs_lat`` (deg), ``obs_elev`` (m), and any others.
    pack
        Move columns of one value into the meta data (ECSV only), as KBMOD does.

    Raises
    ------
    DataError
        If a required column is missing, a WCS has no size, or the suffix is unknown.
    """
    path = Path(path)
    _check_collection(images)
    whole = images.copy()
    for name, value in _INTERNAL.items():
        if name not in whole:
            whole[name] = value
    for name in ("std_idx", "ext_idx"):
        if name not in whole:
            whole[name] = np.arange(len(whole)) if name == "ext_idx" else 0
    standards = int(whole["std_name"].nunique())
    table = AstropyTable.from_pandas(whole)
    for name in table.colnames:
        if table[name].dtype == object:
            table[name] = [str(value) for value in table[name]]
    table.meta["n_stds"] = standards
    if path.suffix == ".ecsv":
        shared = []
        if pack and len(table):
            shared = [n for n in table.colnames if len(np.unique(np.asarray(table[n]).astype(str))) == 1]
            # a table without columns would lose its length
            shared = [n for n in shared if n != "mjd_mid"]
        for name in shared:
            table.meta[name] = np.asarray(table[name])[0].item()
        table.remove_columns(shared)
        table.meta |= {"shared_cols": shared, "is_packed": bool(shared)}
        with silent(), replacing(path) as temporary:
            table.write(temporary, format="ascii.ecsv", overwrite=True)
    elif path.suffix in {".fits", ".fit"}:
        table.meta.clear()
        unit = afits.BinTableHDU(table, name="IMGCOLL")
        unit.header["N_STDS"] = standards
        with silent(), replacing(path) as temporary, temporary.open("wb") as stream:
            afits.HDUList([afits.PrimaryHDU(), unit]).writeto(stream)
    else:
        msg = f"{path}: an ImageCollection ends in .ecsv or .fits"
        raise DataError(msg)


def read_image_collection(path: str | Path) -> pd.DataFrame:
    """Read an ImageCollection with all columns in place; what else its meta data say is in ``.attrs``.

    Raises
    ------
    InvalidFile
        If the file is damaged.
    DataError
        If a required column is missing.
    """
    path = Path(path)
    with quiet(path, "IMGCOLL"):
        if path.suffix == ".ecsv":
            table = AstropyTable.read(path, format="ascii.ecsv")
        else:
            with path.open("rb") as stream, afits.open(stream, memmap=False) as units:
                if "IMGCOLL" not in units:
                    msg = f"{path}: no HDU IMGCOLL; this is not an ImageCollection"
                    raise InvalidFile(msg)
                table = AstropyTable.read(units["IMGCOLL"])
    meta = dict(table.meta)
    for name in meta.pop("shared_cols", []):
        table[name] = [meta.pop(name)] * len(table)
    meta.pop("is_packed", None)
    frame: pd.DataFrame = table.to_pandas()
    for name in frame:
        if frame[name].dtype == object:
            frame[name] = [one.decode() if isinstance(one, bytes) else one for one in frame[name]]
    frame.attrs = meta
    _check_collection(frame)
    return frame


def _check_collection(images: pd.DataFrame) -> None:
    if missing := [name for name in _REQUIRED if name not in images]:
        msg = f"an ImageCollection lacks {', '.join(missing)}"
        raise DataError(msg)
    for name, ours in (("mjd_mid", "mjd"), ("ra", "ra"), ("dec", "dec")):
        if said := wrong_kind(ours, images[name].to_numpy(np.float64)):
            msg = f"{name}: {said}"
            raise DataError(msg)
        rows = np.flatnonzero(out_of_range(ours, images[name].to_numpy(np.float64)))
        if rows.size:
            msg = f"row {rows[0]}: {name} is {images[name].iloc[rows[0]]}, which cannot be"
            raise DataError(msg)
    for number, text in enumerate(images["wcs"]):
        try:
            cards = json.loads(text)
        except (TypeError, ValueError) as error:
            msg = f"row {number}: the column wcs is not JSON"
            raise DataError(msg) from error
        if not {"NAXIS1", "NAXIS2"} <= set(cards):
            msg = f"row {number}: the WCS needs NAXIS1 and NAXIS2"
            raise DataError(msg)


def _format(path: Path) -> str:
    if path.suffix not in _FORMATS:
        msg = f"{path}: results end in {', '.join(_FORMATS)}"
        raise DataError(msg)
    return _FORMATS[path.suffix]
