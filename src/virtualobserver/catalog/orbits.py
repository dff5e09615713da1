"""Orbits of known bodies: immutable folders ``orbits/<name>@<version>``.

They are built from files of the Minor Planet Center or JPL. Elements are heliocentric, of the ecliptic and equinox
J2000, as MPCORB and JPL's small-body database have them.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version as installed
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from virtualobserver.catalog.bodies import BodiesSeen
from virtualobserver.conventions import MJD_ZERO_JD
from virtualobserver.errors import CatalogError, ChecksumMismatch, ConfigError, InvalidFile
from virtualobserver.io.atomic import new_folder
from virtualobserver.maths.ephemeris.brightness import SLOPE, magnitude
from virtualobserver.maths.ephemeris.classes import orbit_class
from virtualobserver.maths.ephemeris.orbits import GM_SUN, Orbits, States, states_of
from virtualobserver.maths.times import Site
from virtualobserver.typing import RecordDict, Value

__all__ = [
    "FOLDER",
    "SIMULATED",
    "LocalOrbits",
    "build_orbits",
    "list_orbits",
    "open_orbits",
    "read_orbits",
    "simulated_orbits",
]

FOLDER: Final = "orbits"
SIMULATED: Final = "simulated@2"
"""Bodies that never were, which come with the package: simulated nights of LSSS and ASTEP show them."""
PROVENANCE: Final = "provenance.json"
TABLE: Final = "orbits.parquet"
FORMAT: Final = 1
"""Raised when older versions could not read what is written."""
_SHIPPED: Final = Path(__file__).with_name("simulated_orbits.csv")
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_.-]*@[A-Za-z0-9][A-Za-z0-9_.-]*")
_COLUMNS: Final = (
    "name", "number", "h", "g", "q", "e", "inclination", "node", "argument", "perihelion", "epoch",
)  # fmt: skip
_SBDB: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("full_name", "name", "pdes"), "number": ("number",), "h": ("H",), "g": ("G",), "a": ("a",), "q": ("q",),
    "e": ("e",), "inclination": ("i",), "node": ("om",), "argument": ("w",), "mean_anomaly": ("ma", "M"),
    "perihelion": ("tp",), "epoch": ("epoch",),
}  # fmt: skip
"""Names of JPL's small-body database."""
_EXTENDED: Final[Mapping[str, tuple[str, ...]]] = {
    "name": ("Name", "Principal_desig"), "number": ("Number",), "h": ("H",), "g": ("G",), "a": ("a",), "e": ("e",),
    "inclination": ("i",), "node": ("Node",), "argument": ("Peri",), "mean_anomaly": ("M",), "epoch": ("Epoch",),
}  # fmt: skip
"""Names of the Minor Planet Center's mpcorb_extended.json."""
_FIELDS: Final = {
    "packed": (0, 7), "h": (8, 13), "g": (14, 19), "epoch": (20, 25), "mean_anomaly": (26, 35), "argument": (37, 46),
    "node": (48, 57), "inclination": (59, 68), "e": (70, 79), "a": (92, 103), "readable": (166, 194),
}  # fmt: skip
"""Columns of MPCORB.DAT (Export format for minor-planet orbits)."""
_PACKED: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_NUMBERED: Final = r"^\(?(\d+)\)?\s*(.*)$"
_PROVISIONAL: Final = r"^[A-Z]{2}\d*$|^[PT]-[L123]$"
"""What follows the year, or the number, of a provisional designation (2010 TK7, 6344 P-L)."""
_OTHER_NAME: Final = r"(?<=\S)\s*\([^)]*\)$"
"""JPL's further designation after a name."""


def read_orbits(path: Path) -> pd.DataFrame:
    """Read orbits from ``MPCORB.DAT``, ``mpcorb_extended.json``, or a table or JSON answer of JPL's database.

    Files may be gzipped.

    Returns
    -------
    DataFrame
        Columns ``name, number, h, g, q, e, inclination, node, argument, perihelion, epoch`` (au, deg, MJD in TDB);
        ``number`` is 0 for bodies without one.

    Raises
    ------
    InvalidFile
        If it is none of these, or has no orbit, or one that cannot be.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    start = content.lstrip()[:1]
    try:
        if start in {b"[", b"{"}:
            rows = _from_json(json.loads(content))
        elif b"," in content.split(b"\n", 1)[0]:
            rows = _named(pd.read_csv(io.BytesIO(content)), _SBDB)
        else:
            rows = _from_mpcorb(content.decode("ascii", errors="replace").splitlines())
    except (ValueError, KeyError, TypeError) as error:
        wanted = "give MPCORB.DAT, mpcorb_extended.json or a table of JPL's SBDB"
        msg = f"{path}: no orbits could be read: {error}; {wanted}"
        raise InvalidFile(msg) from error
    return _checked(rows, path)


def build_orbits(path: Path, root: Path, name: str) -> LocalOrbits:
    """Write the orbits of a file into the data folder; they appear whole or not at all, and are never changed.

    Raises
    ------
    CatalogError
        If the name is not ``<name>@<version>``, or taken.
    InvalidFile
        If the file has no orbits.
    """
    _check_name(name)
    target = root / FOLDER / name
    if target.exists():
        msg = f"{target} is there already, and a list of orbits never changes; choose another version"
        raise CatalogError(msg)
    frame = read_orbits(path)
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), buffer, compression="zstd")
    table = buffer.getvalue()
    said = {
        "format": FORMAT, "orbits": len(frame), "epochs": [float(frame["epoch"].min()), float(frame["epoch"].max())],
        "file": path.name, "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "sha256": hashlib.sha256(table).hexdigest(), "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": installed("virtualobserver"),
    }  # fmt: skip
    with new_folder(target) as folder:
        (folder / TABLE).write_bytes(table)
        (folder / PROVENANCE).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")
    return LocalOrbits(target)


def open_orbits(root: Path, name: str) -> LocalOrbits:
    """Open orbits of the data folder; those that come with the package, `SIMULATED`, are put there.

    Raises
    ------
    CatalogError
        If there are none of this name.
    """
    _check_name(name)
    target = root / FOLDER / name
    if name == SIMULATED and not target.exists():
        with contextlib.suppress(CatalogError):  # another worker was faster
            build_orbits(_SHIPPED, root, name)
    if not (target / PROVENANCE).is_file():
        there = ", ".join(one.name for one in list_orbits(root)) or "none"
        how = f"`vo orbits build {name} --file FILE`"
        msg = f"there are no orbits {name} in {root / FOLDER} (there: {there}); build them with {how}"
        raise CatalogError(msg)
    return LocalOrbits(target)


def simulated_orbits() -> pd.DataFrame:
    """Return the orbits that come with the package, as `read_orbits` does."""
    return read_orbits(_SHIPPED)


def list_orbits(root: Path) -> list[LocalOrbits]:
    """Return all lists of orbits of the data folder, by name."""
    return [LocalOrbits(one.parent) for one in sorted((root / FOLDER).glob(f"*@*/{PROVENANCE}"))]


@dataclass(frozen=True)
class LocalOrbits:
    """A list of orbits in a folder; see `virtualobserver.catalog.bodies.KnownBodies`."""

    folder: Path

    @property
    def name(self) -> str:
        """``<name>@<version>``."""
        return self.folder.name

    @property
    def label(self) -> str:
        """What properties of a search say."""
        return f"orbits {self.name}"

    @cached_property
    def provenance(self) -> RecordDict:
        """Where they come from, how many there are, and checksums."""
        said: RecordDict = json.loads((self.folder / PROVENANCE).read_text(encoding="utf-8"))
        if said.get("format") != FORMAT:
            msg = (
                f"{self.folder} has format {said.get('format')}, this version reads {FORMAT}; build it again"
            )
            raise CatalogError(msg)
        return said

    def __len__(self) -> int:
        return int(self.provenance["orbits"])

    @cached_property
    def table(self) -> pd.DataFrame:
        """The elements, as `read_orbits` returns them."""
        return pd.DataFrame(pq.read_table(self.folder / TABLE).to_pandas())

    @cached_property
    def states(self) -> States:
        """Position and velocity of each body at its epoch."""
        columns = ("q", "e", "inclination", "node", "argument", "perihelion", "epoch")
        return states_of(Orbits(*(self.table[one].to_numpy(float) for one in columns)))

    def verify(self) -> None:
        """Compare the table with its checksum.

        Raises
        ------
        ChecksumMismatch
            If it is not as it was written.
        """
        found = hashlib.sha256((self.folder / TABLE).read_bytes()).hexdigest()
        if found != self.provenance["sha256"]:
            msg = f"{self.folder / TABLE} is not as it was written; build it again under another version"
            raise ChecksumMismatch(msg)

    def seen(
        self,
        mjd: NDArray[np.float64],
        ra: float,
        dec: float,
        radius: float,
        *,
        site: Site | None,
        code: str,  # noqa: ARG002 - the place is enough
    ) -> BodiesSeen:
        """Return the bodies in a field; see `KnownBodies`."""
        from virtualobserver.maths.ephemeris.seen import Observer, in_field

        if site is None:
            msg = f"{self.label}: where bodies are seen depends on the telescope's longitude, latitude and height"
            raise ConfigError(msg)
        rows, found = in_field(self.states, Observer.at(mjd, site), ra, dec, radius)
        if not rows.size:
            return BodiesSeen.none(mjd.size)
        known = self.table.iloc[rows]
        mag = magnitude(
            known["h"].to_numpy()[:, None], known["g"].to_numpy()[:, None], r=found.r, delta=found.delta,
            alpha=found.alpha,
        )  # fmt: skip
        return BodiesSeen(
            known["name"].to_numpy(str), known["number"].to_numpy(np.int64), found.ra, found.dec, found.rate_ra,
            found.rate_dec, found.r, found.delta, found.alpha, mag, np.full(rows.size, np.nan),
            orbit_class(known["q"].to_numpy(float), known["e"].to_numpy(float)),
        )  # fmt: skip


# --- inside -----------------------------------------------------------------------------------------------


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or ".." in name:
        msg = f"{name!r} is no list of orbits: they are called <name>@<version>, e.g. mpcorb@2026-11"
        raise CatalogError(msg)


def _from_json(content: Value) -> pd.DataFrame:
    """Return the rows of mpcorb_extended.json, or of an answer of JPL's query service."""
    if isinstance(content, Mapping) and "fields" in content:
        return _named(pd.DataFrame(content["data"], columns=content["fields"]), _SBDB)
    return _named(pd.DataFrame(content), _EXTENDED)


def _named(frame: pd.DataFrame, names: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Return our columns; epochs are Julian dates."""
    found = {
        ours: frame[theirs]
        for ours, several in names.items()
        for theirs in (next((one for one in several if one in frame), None),)
        if theirs is not None
    }
    rows = pd.DataFrame(found)
    if "Principal_desig" in frame:
        rows["name"] = frame.get("Name", frame["Principal_desig"]).fillna(frame["Principal_desig"])
    for one in set(rows) - {"name", "number"}:
        rows[one] = pd.to_numeric(rows[one], errors="coerce")
    for one in ("epoch", "perihelion"):
        if one in rows:
            rows[one] = rows[one] - MJD_ZERO_JD
    return rows


def _from_mpcorb(lines: Sequence[str]) -> pd.DataFrame:
    """Return the rows of MPCORB.DAT: fixed columns below a line of dashes, or without a head."""
    rule = next((number for number, line in enumerate(lines) if line.startswith("-----")), -1)
    rows = list(_mpcorb_rows(lines[rule + 1 :]))
    if not rows:
        msg = "there is no line of an orbit"
        raise ValueError(msg)
    return pd.DataFrame(rows)


def _mpcorb_rows(lines: Sequence[str]) -> Iterator[RecordDict]:
    for line in lines:
        if len(line) < 103:  # an empty line between the parts
            continue
        text = {name: line[slice(*ends)].strip() for name, ends in _FIELDS.items()}
        row: RecordDict = {
            name: float(text[name]) for name in ("mean_anomaly", "argument", "node", "inclination", "e", "a")
        }
        row |= {name: float(text[name]) if text[name] else np.nan for name in ("h", "g")}
        row["epoch"] = _packed_date(text["epoch"])
        row["name"] = text["readable"] or text["packed"]
        yield row


def _packed_date(text: str) -> float:
    """Return the MJD of a packed date such as K239D (2023-09-13)."""
    from datetime import date

    century, month, day = (_PACKED.index(letter) for letter in (text[0], text[3], text[4]))
    return float((date(100 * century + int(text[1:3]), month, day) - date(1858, 11, 17)).days)


def _checked(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return all columns, bodies without an orbit left out."""
    if missing := [
        one for one in ("name", "e", "inclination", "node", "argument", "epoch") if one not in rows
    ]:
        msg = f"{path}: orbits need {', '.join(missing)}; there are {', '.join(map(str, rows))}"
        raise InvalidFile(msg)
    rows = rows.assign(
        **{one: np.nan for one in ("a", "q", "mean_anomaly", "perihelion", "h", "g") if one not in rows}
    )
    axis = rows["a"].where(rows["a"] > 0)
    q = rows["q"].fillna(axis * (1 - rows["e"]))
    motion = np.degrees(np.sqrt(GM_SUN)) / axis**1.5
    anomaly = (rows["mean_anomaly"] + 180.0) % 360.0 - 180.0
    name, number = _identity(rows)
    frame = pd.DataFrame(
        {
            "name": name, "number": number, "h": rows["h"], "g": rows["g"].fillna(SLOPE), "q": q, "e": rows["e"],
            "inclination": rows["inclination"], "node": rows["node"], "argument": rows["argument"],
            "perihelion": rows["perihelion"].fillna(rows["epoch"] - anomaly / motion), "epoch": rows["epoch"],
        }
    )  # fmt: skip
    elements = frame[list(_COLUMNS[4:])].to_numpy(float)
    whole = np.isfinite(elements).all(axis=1) & (elements[:, 0] > 0) & (elements[:, 1] >= 0)
    if not whole.any():
        needed = "e, i, node, argument, epoch, and a with M or q with tp"
        msg = f"{path}: none of {len(frame)} rows has all elements; needed are {needed}"
        raise InvalidFile(msg)
    return pd.DataFrame(frame.loc[whole, list(_COLUMNS)]).reset_index(drop=True)


def _identity(rows: pd.DataFrame) -> tuple[pd.Series[str], pd.Series[int]]:
    """Return names and numbers, which often stand together: ``433 Eros (A898 PA)``, ``(433) Eros``."""
    text = rows["name"].astype(str).str.strip().str.replace(r"^\((.*)\)$", r"\1", regex=True)
    parts = text.str.extract(_NUMBERED)
    numbered = parts[0].notna() & ~parts[1].str.match(_PROVISIONAL, na=False)
    name = text.where(~numbered | (parts[1] == ""), parts[1]).str.replace(_OTHER_NAME, "", regex=True)
    number = pd.to_numeric(parts[0].where(numbered), errors="coerce")
    if "number" in rows:
        number = pd.to_numeric(rows["number"].astype(str).str.strip("() "), errors="coerce").fillna(number)
    return name.str.strip(" ()"), number.fillna(0).astype(np.int64)
