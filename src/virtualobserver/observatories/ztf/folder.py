"""Data a user already has: folders with light curves, bulk files or forced photometry.

Layout, all found anywhere below the folder: ``<source name>.csv`` (or ``.xml``, ``.vot``, each also packed as
``.gz``) as the light-curve service returns it, ``<source name>.forced.txt`` and ``forcedphotometry_req*.txt`` as
the forced photometry service does, and the bulk files ``ztf_<field>_<filter>_c<ccd>_q<quadrant>_dr<N>.parquet``.
Characters of a source name that a file name cannot hold are written as ``%`` and two hexadecimal
digits, e.g. ``a%2Fb.csv``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from virtualobserver.data.product import Missing, Raw, Target
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.listing import stamps, walk
from virtualobserver.observatories.ztf import bulk, forced
from virtualobserver.observatories.ztf.raw import lightcurve_raw
from virtualobserver.observatories.ztf.settings import ZTFSettings
from virtualobserver.observatory import Landed

__all__ = ["FolderArchive", "file_stems"]

_SUFFIXES = {".csv": "csv", ".xml": "votable", ".vot": "votable"}
_CURVE = re.compile(r"(.+)(\.csv|\.xml|\.vot)(?:\.gz)?", re.IGNORECASE)
_LARGEST = 1 << 28  # bytes: a hundred times the light curve of a star with 10,000 epochs


def file_stems(name: str) -> tuple[str, ...]:
    """Return the names, without suffix, under which a source's file is looked for."""
    encoded = quote(name, safe=" +,-._()=@")
    if set(encoded) <= {"."}:
        encoded = encoded.replace(".", "%2E")
    return (name,) if encoded == name else (name, encoded)


class FolderArchive:
    """The files of one or several folders, listed once."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self._files: dict[str, Path] = {}
        self._curves: dict[str, dict[str, Path]] = {}
        self._others: dict[str, str] = {}
        self._bulk: dict[str, list[Path]] = {}
        self._forced: list[Path] = []
        self._places: dict[Path, tuple[float, float] | None] = {}
        for folder in folders:
            if not folder.is_dir():
                msg = f"archive folder {folder} does not exist; check the setting archive"
                raise InvalidFile(msg)
            self._list(folder)

    def _list(self, folder: Path) -> None:
        for where, _, names in walk(folder):
            for name in names:
                path = where / name
                self._files.setdefault(name, path)
                if (curve := _CURVE.fullmatch(name)) is not None:
                    self._curves.setdefault(curve[1], {}).setdefault(_SUFFIXES[curve[2].lower()], path)
                else:
                    self._others.setdefault(name.partition(".")[0], "." + name.partition(".")[2])
                if (key := bulk.file_key(name)) is not None:
                    self._bulk.setdefault(key, []).append(path)
                elif name.startswith("forcedphotometry_req") and name.endswith(".txt"):
                    self._forced.append(path)

    def fetch(self, target: Target, settings: ZTFSettings) -> Iterator[Landed]:
        """Yield what the folders hold of `target`, or why they hold nothing."""
        try:
            raws = self._forced_raws(target, settings) if settings.mode == "forced" else self._raws(target)
            for raw in raws:
                yield target, raw or Missing("its file has no epochs")
        except DataError as error:
            yield target, error
        except OSError as error:
            yield target, InvalidFile(f"source {target.name}: {error}")

    def _raws(self, target: Target) -> Iterator[Raw | Missing | None]:
        for stem in file_stems(target.name):
            for kind, path in self._curves.get(stem, {}).items():
                yield lightcurve_raw(_content(path), path.name, kind=kind, path=path)
                return
        oid = bulk.oid_of(target)
        if oid is None:
            yield Missing(self._why(target))
            return
        paths = self._bulk.get(bulk.key_of(oid), [])
        newest = max(paths, key=lambda path: bulk.release_of(path.name), default=None)
        if newest is None:
            yield Missing("neither a file of its name nor a bulk file of its field, filter, CCD and quadrant")
        elif bulk.holds(newest, oid):
            yield bulk.raw_of(newest, oid)
        else:
            yield Missing("its object id is not in the bulk file of its field, filter, CCD and quadrant")

    def _why(self, target: Target) -> str:
        """Say why there is no light curve for a target without object id, naming what is there instead."""
        known = ", ".join(_SUFFIXES)
        for stem in file_stems(target.name):
            if (other := self._others.get(stem)) is not None:
                hint = "; mode: forced reads it" if other == ".forced.txt" else ""
                return f"of its name there is only a file {other}, and {known}, also packed as .gz, are read{hint}"
        return f"no file of its name ({known}, also packed as .gz) in the archive folder"

    def _forced_raws(self, target: Target, settings: ZTFSettings) -> Iterator[Raw | Missing | None]:
        for stem in file_stems(target.name):
            if (path := self._files.get(f"{stem}.forced.txt")) is not None:
                yield forced.raw_of(_content(path), path.name, path=path)
                return
        near = list(self._near(target, settings.cone_radius))
        for path in near:
            yield forced.raw_of(_content(path), path.name, path=path)
        if not near:
            yield Missing("no forced photometry file of its name, and none was requested at its position")

    def _near(self, target: Target, radius: float) -> Iterator[Path]:
        """Yield the results of the forced photometry service that were requested for the target's place."""
        for path in self._forced:
            if path not in self._places:
                self._places[path] = forced.requested_at(path)
            if forced.is_near(self._places[path], target, radius):
                yield path

    def listing(self, target: Target, settings: ZTFSettings) -> dict[str, str]:
        """Return the files that `fetch` would look into for `target`, with their stamps."""
        return stamps(self._paths(target, settings))

    def _paths(self, target: Target, settings: ZTFSettings) -> list[Path]:
        stems = file_stems(target.name)
        if settings.mode == "forced":
            names = [f"{stem}.forced.txt" for stem in stems]
            named = [self._files[name] for name in names if name in self._files]
            return named or list(self._near(target, settings.cone_radius))
        named = [path for stem in stems for path in self._curves.get(stem, {}).values()]
        if named:
            return named
        oid = bulk.oid_of(target)
        return [] if oid is None else self._bulk.get(bulk.key_of(oid), [])


def _content(path: Path) -> bytes:
    """Return the bytes of a file, if it is not larger than any light curve."""
    if (size := path.stat().st_size) > _LARGEST:
        msg = f"{path}: {size} bytes, more than any light curve has; is it one star's?"
        raise InvalidFile(msg)
    return path.read_bytes()
