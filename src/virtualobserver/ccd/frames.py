"""Raw frames as the calibration reads them: rows when asked for, compressed ones unpacked once."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import numpy as np

from virtualobserver.ccd.settings import CCDSettings
from virtualobserver.data.image import Image
from virtualobserver.data.product import RawRef
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.fits.files import read_header, read_image, read_section
from virtualobserver.io.fits.keywords import with_numbers
from virtualobserver.io.fits.structure import MemoryFile, check_structure, first_image, plane_of
from virtualobserver.maths.arrays import Array
from virtualobserver.maths.ccd.combine import Sections
from virtualobserver.maths.ccd.overscan import apply_overscan, read_layout
from virtualobserver.typing import Record, RecordDict

__all__ = ["OpenFrame", "RawFrame", "opened", "read_frame"]

_CHUNK: Final = 1 << 20
"""Bytes of a file hashed at once: no file is held whole. Chosen, not tuned."""
_FIRST: Final = frozenset(
    {"SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "CHECKSUM", "DATASUM", "BSCALE", "BZERO"}
)
_KEPT: Final = 0.25  # share of memory_limit that unpacked frames may take


@dataclass(frozen=True, eq=False)
class RawFrame:
    """One frame, read whole: counts of its lit part, less its `overscan` (ADU), header, SHA-256 of the file."""

    data: Array
    header: Record
    sha256: str
    history: tuple[str, ...] = ()
    overscan: float = 0.0


@dataclass(frozen=True, eq=False)
class OpenFrame:
    """One frame of a stack as `Sections`, with its header and the SHA-256 of its file."""

    name: str
    shape: tuple[int, ...]
    header: Record
    sha256: str
    path: Path | None = None
    hdu: int = 0
    array: Array | None = field(default=None, repr=False)

    def section(self, rows: slice) -> Array:
        """Return rows, shape (rows, nx)."""
        if self.array is not None:
            return np.asarray(self.array[rows])
        assert self.path is not None
        return read_section(self.path, rows, hdu=self.hdu)


def read_frame(raw: RawRef, settings: CCDSettings) -> RawFrame:
    """Read one frame whole.

    Raises
    ------
    DataError
        If the file is not whole or not an image, or cannot be what its header says; the message names it.
    """
    file, digest = _file(raw, settings)
    number = _number(raw, file, check_structure(file, verify=False))
    image = read_image(file, number)
    header = {**with_numbers(_merged(file, image.header, number)), **(raw.header.get("corrected") or {})}
    return _lit(RawFrame(image.data, header, digest), settings)


@contextmanager
def opened(raws: Sequence[RawRef], settings: CCDSettings) -> Iterator[tuple[list[OpenFrame], dict[str, str]]]:
    """Open the frames of a stack.

    A plain FITS file is read row by row where it lies. Frames that are compressed, come as bytes or have an
    overscan are unpacked once: into memory as far as `memory_limit` allows, then into a temporary file.

    Yields
    ------
    frames, refused
        Frames in the order of time, and the reason for each that cannot be used.
    """
    kept = _KEPT * settings.memory_limit * 1e9
    frames: list[OpenFrame] = []
    refused: dict[str, str] = {}
    with ExitStack() as stack:
        for raw in sorted(raws, key=lambda one: (one.header.get("mjd") or 0.0, one.archive_id)):
            try:
                if raw.header.get("problem"):
                    raise InvalidFile(str(raw.header["problem"]))
                frame = _open(raw, settings)
            except DataError as error:
                refused[raw.archive_id] = str(error)
                continue
            if frame.array is not None:
                kept -= frame.array.nbytes
                if kept < 0:
                    frame = _spooled(frame, stack)
            frames.append(frame)
        yield frames, refused


def _open(raw: RawRef, settings: CCDSettings) -> OpenFrame:
    file, digest = _file(raw, settings)
    plain = isinstance(file, Path) and settings.overscan == "none" and not file.name.lower().endswith(".fz")
    if plain:
        assert isinstance(file, Path)
        shapes = check_structure(file)
        number = _number(raw, file, shapes)
        header = {**_merged(file, read_header(file, number), number), **(raw.header.get("corrected") or {})}
        return OpenFrame(raw.archive_id, plane_of(shapes[number]), header, digest, file, number)
    frame = read_frame(raw, settings)
    return OpenFrame(raw.archive_id, frame.data.shape, frame.header, digest, array=frame.data)


def _number(raw: RawRef, file: Path | MemoryFile, shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the HDU of a frame: the one its facts name, else the first with an image."""
    number = raw.header.get("hdu")
    if isinstance(number, int) and number < len(shapes) and plane_of(shapes[number]):
        return number
    return first_image(file, shapes)


def _spooled(frame: OpenFrame, stack: ExitStack) -> OpenFrame:
    assert frame.array is not None
    stream = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115 - the stack closes it
    plane = np.memmap(stream, frame.array.dtype, "w+", shape=frame.array.shape)
    plane[:] = frame.array
    return OpenFrame(frame.name, frame.shape, frame.header, frame.sha256, array=plane)


def _file(raw: RawRef, settings: CCDSettings) -> tuple[Path | MemoryFile, str]:
    """Return a file to read, unpacked, and the SHA-256 of the bytes as they came."""
    if raw.path is None:
        content = raw.read()
        digest = sha256(content).hexdigest()
        if content[:2] == b"\x1f\x8b":
            content = gzip.decompress(content)
        return MemoryFile(content, raw.archive_id), digest
    digest = _digest(raw.path)
    with raw.path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    if not packed:
        return raw.path, digest
    most = int(settings.memory_limit * 1e9)
    try:
        with gzip.open(raw.path) as stream:
            content = stream.read(most + 1)
    except (OSError, EOFError, zlib.error) as error:
        msg = f"{raw.path}: cannot be unpacked ({error}); fetch it again"
        raise InvalidFile(msg) from error
    if len(content) > most:
        msg = f"{raw.path}: unpacks to more than memory_limit, {settings.memory_limit:g} Gbyte"
        raise InvalidFile(msg)
    return MemoryFile(content, str(raw.path)), digest


def _digest(path: Path) -> str:
    found = sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                found.update(chunk)
    except OSError as error:
        msg = f"{path}: cannot be read ({error.strerror}); was the archive moved?"
        raise InvalidFile(msg) from error
    return found.hexdigest()


def _merged(file: Path | MemoryFile, header: Record, number: int) -> RecordDict:
    """Return the header of an extension with the keywords of the primary HDU that it lacks."""
    if not number:
        return dict(header)
    first = {key: value for key, value in read_header(file, 0).items() if key not in _FIRST}
    return {**first, **header}


def _lit(frame: RawFrame, settings: CCDSettings) -> RawFrame:
    """Return the lit part of a frame; its header's pixels are counted from the new corner."""
    if settings.overscan == "none":
        return frame
    shape = (int(frame.data.shape[0]), int(frame.data.shape[1]))
    layout = read_layout(frame.header, shape, trimsec=settings.trimsec, biassec=settings.biassec)
    found = apply_overscan(frame.data, layout, overscan=settings.overscan)
    header = dict(frame.header)
    if layout.image is not None:
        header = Image.moved(header, layout.image.y0, layout.image.x0)
        for key in ("TRIMSEC", "DATASEC", "BIASSEC", "CCDSEC"):  # they count the pixels of the whole frame
            header.pop(key, None)
    done = "cut off" if settings.overscan == "ignore" else f"of {found.level:.2f} ADU subtracted"
    return replace(frame, data=found.data, header=header, history=(f"overscan {done}",), overscan=found.level)


def sections(frames: Sequence[OpenFrame]) -> list[Sections]:
    """Return the frames as `combine` takes them."""
    return list(frames)
