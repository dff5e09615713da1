"""The data folder: files named by their content, written once, read with a checksum.

::

    raw/<observatory>/<sky cell>/    what archives gave
    products/<digest>/               what was made, one folder for each recipe
    histograms/                      sums over a project
    quarantine/                      files whose bytes are not those written
    tmp/                             downloads in progress
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from virtualobserver.data.handles import ProductInfo
from virtualobserver.data.image import Image
from virtualobserver.data.spectrum import SpectrumSet
from virtualobserver.data.table import Table
from virtualobserver.errors import ChecksumMismatch, DataError, InvalidFile, StoreError, UnsafePath
from virtualobserver.io import hdf5
from virtualobserver.io.atomic import check_space, replacing, write_bytes
from virtualobserver.io.listing import mark
from virtualobserver.io.names import safe_name

__all__ = ["BlockRef", "FileRecord", "Store", "StoredHandle", "Written"]

_FOLDERS: Final = ("raw", "products", "histograms", "quarantine", "tmp")
_KEPT_OPEN: Final = 16
"""Files kept open, far fewer than a process may have. Chosen."""
_NAME_DIGITS: Final = 24
"""Hexadecimal digits, 96 bits: no two of 1e12 files share them, and names stay short."""


@dataclass(frozen=True)
class BlockRef:
    """Where one container, or one piece of raw data, is: file, key inside it, checksum."""

    path: str
    key: str
    kind: str
    format: str
    checksum: str | None
    external: bool = False


@dataclass(frozen=True)
class FileRecord:
    """One file as written: `path` is relative to the root, or absolute for a file registered in place."""

    path: str
    sha256: str
    bytes: int
    format: str
    mtime: float


@dataclass(frozen=True)
class Written:
    """A file and the blocks in it."""

    file: FileRecord
    blocks: list[BlockRef]


@dataclass(frozen=True)
class StoredHandle:
    """A stored container that is read when asked for, see `virtualobserver.data.Handle`."""

    store: Store = field(repr=False)
    ref: BlockRef
    info: ProductInfo

    def load(self) -> Any:
        """Read the whole container and check its checksum."""
        return self.store.load(self.ref)

    def section(self, rows: slice, cols: slice | None = None) -> Any:
        """Read rows of a table, epochs and pixels of spectra, or a box of an image with variance and mask."""
        return self.store.section(self.ref, rows, cols)


class Store:
    """Files below one root.

    Parameters
    ----------
    root
        The data folder; made if it is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root).absolute()
        for name in _FOLDERS:
            (self.root / name).mkdir(parents=True, exist_ok=True)
        self._links: list[Path] | None = None
        self._local = threading.local()
        self._registered: dict[Path, tuple[tuple[int, int, int], FileRecord]] = {}
        self._adopted: dict[Path, FileRecord] = {}

    def __repr__(self) -> str:
        return f"Store({str(self.root)!r})"

    # --- writing ------------------------------------------------------------------------------------------

    def write_blocks(self, folder: str, blocks: Sequence[tuple[str, Table | SpectrumSet | bytes]]) -> Written:
        """Write containers or raw bytes into one new HDF5 file, named by its content.

        Parameters
        ----------
        folder
            Relative to the root, e.g. ``products/<digest>``.
        blocks
            Key (see `safe_name`) and `Table`, `TimeSeries`, `SpectrumSet` or bytes.

        Raises
        ------
        DiskFull
            If there is no room; nothing is left behind.
        DataError
            If a container cannot be stored or a key is used twice.
        """
        encoded = [(key, hdf5.encode(content)) for key, content in blocks]
        place = self.resolve(folder)
        place.mkdir(parents=True, exist_ok=True)
        check_space(place, sum(block.nbytes for _, block in encoded), folder)
        content = hdf5.write_file_image(encoded)
        record = self._write_content(folder, content, prefix="", suffix=".h5")
        refs = [BlockRef(record.path, key, block.kind, "hdf5", block.checksum()) for key, block in encoded]
        return Written(record, refs)

    def write_image(self, folder: str, image: Image, name: str) -> Written:
        """Write one image as FITS; the file is named by `name` and its content."""
        from virtualobserver.io.fits import (
            files as fits,  # astropy.io.fits takes long to load, and light curves need none
        )

        content = fits.image_bytes(image)
        record = self._write_content(folder, content, prefix=f"{safe_name(name)}.", suffix=".fits")
        return Written(record, [BlockRef(record.path, "", image.kind, "fits", record.sha256)])

    def adopt(self, temp: Path, folder: str, suffix: str) -> FileRecord:
        """Move a downloaded file to its place, named by its content.

        A file of many parts comes once for each part: what was moved away already is where it was moved to.
        """
        known = self._adopted.get(temp)
        if known is not None and not temp.exists() and self.resolve(known.path).exists():
            return known
        digest = _sha256(temp)
        path = self._place(f"{folder}/{digest[:_NAME_DIGITS]}{safe_name(suffix) if suffix else ''}")
        size = temp.stat().st_size
        if not self._has(path, digest):
            path.parent.mkdir(parents=True, exist_ok=True)
            near = temp.stat().st_dev == path.parent.stat().st_dev
            with replacing(path, needed=0 if near else size) as place:
                if near:
                    temp.replace(place)
                else:
                    shutil.copyfile(temp, place)
        temp.unlink(missing_ok=True)
        self._adopted[temp] = record = self._record(path, digest)
        return record

    def register(self, path: Path) -> FileRecord:
        """Describe a file of an archive folder, which stays where it is and is never written.

        A file whose size and times are as before is not hashed again: a bulk file serves thousands of targets.

        Raises
        ------
        InvalidFile
            If it is not there, is no file, or cannot be read.
        """
        try:
            state = path.stat()
            if not stat.S_ISREG(state.st_mode):
                msg = f"{path} is no file"
                raise InvalidFile(msg)
            path = path.resolve()
            found = mark(state)
            known = self._registered.get(path)
            if known is None or known[0] != found:
                record = FileRecord(str(path), _sha256(path), state.st_size, _format(path), state.st_mtime)
                known = self._registered[path] = (found, record)
        except OSError as error:
            link = f"it is a link to {path.readlink()}; " if path.is_symlink() else ""
            msg = f"{path} cannot be read: {link}{error.strerror or error}; mend that, or take it out of the archive"
            raise InvalidFile(msg) from error
        return known[1]

    # --- reading ------------------------------------------------------------------------------------------

    def resolve(self, path: str, *, external: bool = False) -> Path:
        """Return the absolute path of a file.

        Raises
        ------
        UnsafePath
            If `path` is absolute or would leave the root, symbolic links followed, and is not `external`. The
            folders of the root themselves (``products`` ...) may be links to another place.
        """
        if external:
            return Path(path)
        if "\0" in path or not path or Path(path).is_absolute():
            msg = f"{path!r} is not a path inside the data folder {self.root}"
            raise UnsafePath(msg)
        full = (self.root / path).resolve()
        if not any(full.is_relative_to(top) and full != top for top in self._tops()):
            msg = f"{path!r} would leave the data folder {self.root}"
            raise UnsafePath(msg)
        return full

    def _tops(self) -> list[Path]:
        """Return where the root is, and where those of its folders are that lead elsewhere by a link."""
        if self._links is None:
            root = self.root.resolve()
            self._links = [
                root,
                *((root / name).resolve() for name in _FOLDERS if (root / name).is_symlink()),
            ]
        return self._links

    def _relative(self, full: Path) -> str:
        """Return a resolved path as it is written in rows: below the root, by the names of its folders."""
        for name in _FOLDERS:
            top = self.root / name
            if top.is_symlink() and full.is_relative_to(top.resolve()):
                return (Path(name) / full.relative_to(top.resolve())).as_posix()
        return full.relative_to(self.root.resolve()).as_posix()

    def open(self, ref: BlockRef, info: ProductInfo | None = None) -> StoredHandle:
        """Return a lazy handle; nothing is opened."""
        return StoredHandle(self, ref, info or ProductInfo(kind=ref.kind))

    def open_many(self, refs: Sequence[BlockRef]) -> list[StoredHandle]:
        """Return lazy handles; load them inside ``with store.reading():`` to open each file once."""
        return [self.open(ref) for ref in refs]

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Keep the files read in this thread open until the end of the block, the latest 16 at most."""
        if getattr(self._local, "files", None) is not None:
            yield
            return
        self._local.files = OrderedDict()
        try:
            yield
        finally:
            for file in self._local.files.values():
                file.close()
            self._local.files = None

    def load(self, ref: BlockRef) -> Any:
        """Read a whole container, or raw bytes, and check the checksum.

        Raises
        ------
        ChecksumMismatch
            If the bytes are not those that were written.
        StoreError
            If the file is missing or cannot be read.
        """
        if ref.format == "hdf5" and ref.key:
            return self._load_block(ref)
        path = self._existing(ref)
        if ref.checksum is not None and _sha256(path) != ref.checksum:
            raise self._mismatch(ref, "its bytes have changed")
        if ref.kind == "image":
            from virtualobserver.io.fits import files as fits

            return fits.read_image(path, hdu=int(ref.key) if ref.key else None)
        if ref.format == "netcdf":
            from virtualobserver.io.netcdf import (
                read_netcdf,  # a library of its own, for few kinds of raw data
            )

            return read_netcdf(path)
        return path.read_bytes()

    def section(self, ref: BlockRef, rows: slice, cols: slice | None = None) -> Any:
        """Read a part; the checksum, which is that of the whole, is not checked."""
        if ref.kind == "image":
            from virtualobserver.io.fits.cut import read_cut

            return read_cut(self._existing(ref), rows, cols, hdu=int(ref.key) if ref.key else None)
        try:
            with self._file(ref) as opened:
                return hdf5.read_section(opened.file, ref.key, rows, cols)
        except OSError as error:
            raise self._mismatch(ref, f"it cannot be read ({error})") from error

    def read_bytes(self, ref: BlockRef) -> bytes:
        """Read raw bytes: a block of an HDF5 file, or a whole file if the key is empty.

        Raises
        ------
        DataError
            If the reference is that of a container.
        """
        if not (ref.format == "hdf5" and ref.key):
            content = self._existing(ref).read_bytes()
            if ref.checksum is not None and hashlib.sha256(content).hexdigest() != ref.checksum:
                raise self._mismatch(ref, "its bytes have changed")
            return content
        content = self._load_block(ref)
        if not isinstance(content, bytes):
            msg = f"{ref.path}[{ref.key}] is a {ref.kind}, not raw bytes; use open"
            raise DataError(msg)
        return content

    # --- keeping ------------------------------------------------------------------------------------------

    def rehash(self, path: str, *, external: bool = False) -> str:
        """Return the SHA-256 of a file as it is now."""
        return _sha256(self.resolve(path, external=external))

    def quarantine(self, path: str) -> Path:
        """Move a file out of use, and return where it is now."""
        # a link in place of a file is itself what goes, wherever it leads
        link = self.root / path
        full = (
            self.resolve(Path(path).parent.as_posix()) / link.name
            if link.is_symlink()
            else self.resolve(path)
        )
        place = self.root / "quarantine" / f"{time.time_ns()}-{safe_name(path)}"
        shutil.move(full, place)  # a folder of the root may be on another file system
        return place

    def delete(self, path: str) -> None:
        """Remove a file of the root; one that is gone already is no error."""
        full = self.root / path
        (full if full.is_symlink() else self.resolve(path)).unlink(missing_ok=True)

    def files(self) -> Iterator[str]:
        """Iterate over the paths, relative to the root, of all finished files."""
        for top in ("raw", "products", "histograms"):
            for folder, folders, names in os.walk(self.root / top):
                folders.sort()
                for name in sorted(names):
                    if not name.startswith(".vo-"):
                        yield (Path(folder) / name).relative_to(self.root).as_posix()

    def _unfinished(self) -> Iterator[Path]:
        for top in ("raw", "products", "histograms"):
            for folder, _, names in os.walk(self.root / top):
                yield from (Path(folder) / name for name in names if name.startswith(".vo-"))

    def sweep_temporary(self, older_than: float) -> list[Path]:
        """Remove what killed writers left in ``tmp/``, and beside files, more than `older_than` seconds ago."""
        limit = time.time() - older_than
        left = [*(self.root / "tmp").iterdir(), *self._unfinished()]
        old = [path for path in left if path.lstat().st_mtime < limit]
        for path in old:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        return old

    # --- inside -------------------------------------------------------------------------------------------

    def _write_content(self, folder: str, content: bytes, *, prefix: str, suffix: str) -> FileRecord:
        digest = hashlib.sha256(content).hexdigest()
        path = self._place(f"{folder}/{prefix}{digest[:_NAME_DIGITS]}{suffix}")
        if not self._has(path, digest):
            write_bytes(path, content)
        return self._record(path, digest)

    def _place(self, path: str) -> Path:
        """Return where a file is to be written; a link that somebody put there is set aside."""
        if (self.root / path).is_symlink():
            self.quarantine(path)
        return self.resolve(path)

    def _has(self, path: Path, digest: str) -> bool:
        """Tell whether the file is there and whole; a damaged one goes to quarantine."""
        if not path.exists():
            return False
        if _sha256(path) == digest:
            return True
        self.quarantine(self._relative(path))
        return False

    def _record(self, path: Path, digest: str) -> FileRecord:
        state = path.stat()
        name = self._relative(path)
        return FileRecord(name, digest, state.st_size, _format(path), state.st_mtime)

    def _existing(self, ref: BlockRef) -> Path:
        path = self.resolve(ref.path, external=ref.external)
        if not path.is_file() or not os.access(path, os.R_OK):
            msg = f"{path} (key {ref.key!r}) is missing or unreadable; `vo verify --repair` remakes it"
            raise StoreError(msg)
        return path

    def _load_block(self, ref: BlockRef) -> Any:
        try:
            with self._file(ref) as opened:
                container, right = hdf5.load_block(opened, ref.key, wanted=ref.checksum)
        except StoreError:
            raise
        except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
            # damage in the structure of the file shows as any of these
            raise self._mismatch(ref, f"it cannot be read ({error})") from error
        if not right:
            raise self._mismatch(ref, "its bytes have changed")
        return container

    @contextmanager
    def _file(self, ref: BlockRef) -> Iterator[hdf5.OpenFile]:
        kept: OrderedDict[tuple[str, bool], hdf5.OpenFile] | None = getattr(self._local, "files", None)
        if kept is None:
            with closing(hdf5.OpenFile(self._existing(ref))) as opened:
                yield opened
            return
        name = (ref.path, ref.external)
        if name not in kept:
            kept[name] = hdf5.OpenFile(self._existing(ref), many=True)
        kept.move_to_end(name)
        while len(kept) > _KEPT_OPEN:
            kept.popitem(last=False)[1].close()
        yield kept[name]

    def _mismatch(self, ref: BlockRef, reason: str) -> ChecksumMismatch:
        place = self.resolve(ref.path, external=ref.external)
        msg = f"{place}, key {ref.key!r}: {reason}; run `vo verify --repair` to set it aside and remake it"
        return ChecksumMismatch(msg)


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _format(path: Path) -> str:
    names = {
        "h5": "hdf5",
        "hdf5": "hdf5",
        "nc": "netcdf",
        "fz": "fits",
        "fit": "fits",
        "vot": "votable",
        "xml": "votable",
    }
    suffixes = [part.lstrip(".").lower() for part in path.suffixes[-2:]]
    last = suffixes[-1] if suffixes else ""
    if last == "gz" and len(suffixes) > 1:
        last = suffixes[0]
    return names.get(last, last)
