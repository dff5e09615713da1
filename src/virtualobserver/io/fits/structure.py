"""Is a FITS file whole? Asked of its headers and size, before any of its data are read."""

from __future__ import annotations

import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Final

from astropy.io import fits as afits
from astropy.utils.exceptions import AstropyWarning

from virtualobserver.errors import InvalidFile
from virtualobserver.io.sizes import check_claim
from virtualobserver.typing import RecordDict, Value

__all__ = [
    "MemoryFile",
    "check_structure",
    "first_image",
    "plane_of",
    "quiet",
    "read_cards",
    "silent",
    "wrong_sums",
]

_BLOCK: Final = 2880
"""Bytes; FITS standard 4.0, section 3.1."""
_CARD: Final = 80
"""Bytes; likewise, section 3.3."""
_PLAIN: Final = re.compile(
    rb"[A-Z0-9_-]{1,8} *= +(?:'((?:[ -&(-~]|'')*)'|([TF])|([+-]?\d+(?:\.\d*)?(?:[ED][+-]?\d+)?)) *(?:/[ -~]*)?"
)
"""A card of a text, a truth or a number, as nearly all are; likewise, section 4.2."""
_MOST_TIMES: Final = 1000  # no tile compression packs more than this on data worth keeping
_FAILURES: Final = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, EOFError,
    OverflowError, MemoryError, struct.error, zlib.error, afits.VerifyError,
)  # fmt: skip

_WRONG_CALLS: Final = (
    "unexpected keyword argument", "required positional argument", "positional arguments but", "is not callable",
)  # fmt: skip


@dataclass(frozen=True)
class MemoryFile:
    """Bytes that are asked like a file: what `reduce` has in hand, under the name messages give it."""

    content: bytes = field(repr=False)
    name: str

    def open(self, mode: str = "rb") -> io.BytesIO:  # noqa: ARG002 - the modes of a path
        """Return a stream of the bytes."""
        return io.BytesIO(self.content)

    def stat(self) -> SimpleNamespace:
        """Return the size as ``st_size``."""
        return SimpleNamespace(st_size=len(self.content))

    def __str__(self) -> str:
        return self.name


def check_structure(path: Path | MemoryFile, *, verify: bool = True) -> list[tuple[int, ...]]:
    """Walk through all HDUs without reading data, then check the checksums.

    Returns
    -------
    list of tuple of int
        Shape of each HDU as numpy has it; of a tile-compressed one, that of its image.

    Raises
    ------
    InvalidFile
        If the file is not FITS, is cut, has HDUs that do not fill it, or a checksum is wrong.
    """
    packed = _check_start(path)
    size = None if packed else path.stat().st_size
    shapes: list[tuple[int, ...]] = []
    number = 0
    end = 0
    with (
        quiet(path, 0) as said,
        path.open("rb") as stream,
        afits.open(stream, memmap=False, disable_image_compression=True) as units,
    ):
        while _has_unit(units, number):
            with quiet(path, number) as more:
                end = _check_extent(path, number, units[number], size)
                shapes.append(_shape(path, number, units[number], size))
            said.extend(more)
            number += 1
        if said:
            msg = f"{path}, HDU {number}: {_astropys(said[0])}; fetch it again"
            raise InvalidFile(msg)
        if size is not None and end != size:
            msg = (
                f"{path}, HDU {number - 1}: ends at byte {end}, the file at {size}; "
                "a size in the header is wrong"
            )
            raise InvalidFile(msg)
        if verify:
            _check_sums(path, units)
    return shapes


def read_cards(path: Path | MemoryFile, keys: Collection[str]) -> list[RecordDict]:
    """Read a few keywords of each HDU on one walk through the file, for listings of files of many HDUs.

    Of a header, astropy parses here what says how long its data are, and the cards asked for; all others, nine of ten,
    are left unread, which takes a fifth of the time. Whether the file is whole is checked, by its length; all else that
    `check_structure` looks at is not.

    Returns
    -------
    list of dict
        Of each HDU, those of `keys` that its header has, the first of each; undefined values are None.

    Raises
    ------
    InvalidFile
        If the file is not FITS or is cut.
    """
    packed = _check_start(path)
    size, end = path.stat().st_size, 0
    found: list[RecordDict] = []
    with (
        quiet(path, 0) as said,
        path.open("rb") as stream,
        path.open("rb") as text,
        afits.open(stream, memmap=False, disable_image_compression=True) as units,
    ):
        while _has_unit(units, len(found)):
            unit = units[len(found)]
            place = unit.fileinfo()
            if type(unit).__name__ in {"_CorruptedHDU", "_NonstandardHDU"}:
                msg = f"{path}, HDU {len(found)}: the header is not one of FITS"
                raise InvalidFile(msg)
            if packed:
                found.append(_chosen({key: unit.header[key] for key in keys if key in unit.header}))
                continue
            text.seek(place["hdrLoc"])
            found.append(_chosen(_cards(text.read(place["datLoc"] - place["hdrLoc"]), unit, keys)))
            end = place["datLoc"] + place["datSpan"]
            if end > size:
                msg = (
                    f"{path}, HDU {len(found) - 1}: cut; the header promises {end} bytes, the file has {size}; "
                    "fetch it again"
                )
                raise InvalidFile(msg)
        if said:
            msg = f"{path}, HDU {len(found)}: {_astropys(said[0])}; fetch it again"
            raise InvalidFile(msg)
    if not packed and end != size:
        msg = f"{path}, HDU {len(found) - 1}: ends at byte {end}, the file at {size}; a size in the header is wrong"
        raise InvalidFile(msg)
    return found


def _cards(content: bytes, unit: afits.ImageHDU, keys: Collection[str]) -> RecordDict:
    if b"CONTINUE" in content:  # values that go on over several cards: all have to be read
        return {key: unit.header[key] for key in keys if key in unit.header}
    found: RecordDict = {}
    wanted = {key.ljust(8).encode("latin-1"): key for key in keys}
    for at in range(0, len(content), _CARD):
        key = wanted.pop(content[at : at + 8], None)  # the first of each
        if key is not None:
            found[key] = _value(content[at : at + _CARD])
    return found


def _value(card: bytes) -> Value:
    """Return the value of a card, of most without astropy, which takes longer for one than for all else of a file.

    It looks up a setting of its own, and checks it, twice for each.
    """
    plain = _PLAIN.fullmatch(card)
    if plain is None or b": " in card:  # rare, wrong, or of a record
        return afits.Card.fromstring(card).value
    text, truth, number = plain.groups()
    if text is not None:
        return text.decode("ascii").replace("''", "'").rstrip(" ")
    if truth is not None:
        return bool(truth == b"T")
    return int(number) if number.lstrip(b"+-").isdigit() else float(number.replace(b"D", b"E"))


def _chosen(values: RecordDict) -> RecordDict:
    return {key: None if isinstance(value, afits.card.Undefined) else value for key, value in values.items()}


def _has_unit(units: afits.HDUList, number: int) -> bool:
    try:
        units[number]
    except IndexError:
        return False
    return True


def _check_start(path: Path | MemoryFile) -> bool:
    """Look at the first bytes; return whether the file is compressed as a whole."""
    with path.open("rb") as stream:
        head = stream.read(80)
    if head[:2] == b"\x1f\x8b" or head[:3] == b"BZh":
        return True
    if head[:9] == b"SIMPLE  =":
        return False
    reason = "not a FITS file"
    if not head:
        reason = "empty, 0 bytes"
    elif head.lstrip()[:1] == b"<":
        reason = "a web page or XML instead of FITS"
    msg = f"{path}, HDU 0: {reason}; fetch it again"
    raise InvalidFile(msg)


def _check_extent(path: Path | MemoryFile, number: int, unit: afits.ImageHDU, size: int | None) -> int:
    place = unit.fileinfo()
    if (
        unit.size < 0
        or not hasattr(unit, "header")
        or type(unit).__name__ in {"_CorruptedHDU", "_NonstandardHDU"}
    ):
        msg = f"{path}, HDU {number}: the header is not one of FITS"
        raise InvalidFile(msg)
    start, data = int(place["datLoc"]), int(unit.size)
    end = start + -(-data // _BLOCK) * _BLOCK
    if size is None:  # packed as a whole: what is in it is seen when it is unpacked
        check_claim(data, path.stat().st_size, f"{path}, HDU {number}")
        return end
    if end > size:
        what = "cut in the data" if start + data > size else "cut in the padding"
        msg = (
            f"{path}, HDU {number}: {what}; the header promises {end} bytes, the file has {size}; "
            "fetch it again"
        )
        raise InvalidFile(msg)
    with path.open("rb") as stream:
        stream.seek(start + data)
        fill = stream.read(end - start - data)
    if fill.strip(b"\0 "):
        msg = f"{path}, HDU {number}: the padding is not empty; NAXIS or the data are wrong"
        raise InvalidFile(msg)
    return end


def _shape(path: Path | MemoryFile, number: int, unit: afits.ImageHDU, size: int | None) -> tuple[int, ...]:
    header = unit.header
    packed = header.get("ZIMAGE") is True
    letter = "ZNAXIS" if packed else "NAXIS"
    shape = tuple(int(header[f"{letter}{axis}"]) for axis in range(int(header[letter]), 0, -1))
    if packed:
        default = [shape[-1]] + [1] * (len(shape) - 1)
        tiles = [int(header.get(f"ZTILE{axis + 1}", default[axis])) for axis in range(len(shape))]
        count = math.prod(-(-length // max(tile, 1)) for length, tile in zip(shape[::-1], tiles, strict=True))
        pixels = math.prod(shape) * abs(int(header["ZBITPIX"])) // 8
        if count != header["NAXIS2"] or (size is not None and pixels > _MOST_TIMES * max(size, _BLOCK)):
            rows = header["NAXIS2"]
            msg = f"{path}, HDU {number}: an image of {pixels} bytes does not come from {rows} tiles"
            raise InvalidFile(msg)
    return shape if (not packed and isinstance(unit, afits.PrimaryHDU | afits.ImageHDU)) or packed else ()


def _check_sums(path: Path | MemoryFile, units: object) -> None:
    for number, key in wrong_sums(units):
        msg = f"{path}, HDU {number}: {key} is wrong, the bytes have changed; fetch it again"
        raise InvalidFile(msg)


def wrong_sums(units: afits.HDUList) -> list[tuple[int, str]]:
    """Return HDU and keyword of each CHECKSUM and DATASUM that does not fit the bytes.

    Parameters
    ----------
    units
        An open `astropy.io.fits.HDUList`.
    """
    return [
        (number, key)
        for number, unit in enumerate(units)
        for key, check in (("DATASUM", unit.verify_datasum), ("CHECKSUM", unit.verify_checksum))
        if key in unit.header and check() == 0
    ]


def plane_of(shape: tuple[int, ...]) -> tuple[int, int] | tuple[()]:
    """Return rows and columns of an image, also of a cube with one plane; empty for anything else."""
    axes = shape if len(shape) <= 2 else tuple(length for length in shape if length != 1)
    return (axes[0], axes[1]) if len(axes) == 2 and all(axes) else ()


def first_image(path: Path | MemoryFile, shapes: Sequence[tuple[int, ...]]) -> int:
    """Return the number of the first HDU that holds one plane, or raise `InvalidFile`."""
    for number, shape in enumerate(shapes):
        if plane_of(shape):
            return number
    msg = f"{path}: no HDU holds an image with two axes"
    raise InvalidFile(msg)


def _is_mistake(error: BaseException) -> bool:
    """Whether an error says that a program is wrong, by a name or call that cannot be, and not what a file holds.

    Damage in a file shows inside astropy, or in this package as a value that cannot be converted.
    """
    if isinstance(error, TypeError):
        return any(words in str(error) for words in _WRONG_CALLS)
    trace = error.__traceback__
    if not isinstance(error, AttributeError) or trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    return str(trace.tb_frame.f_globals.get("__name__", "")).startswith(__package__.partition(".")[0])


def _astropys(said: warnings.WarningMessage) -> str:
    """Return what astropy says of a damaged file as one line, without its own numbers of HDUs."""
    lines = [line.strip().rstrip(".") for line in str(said.message).splitlines()]
    return "; ".join(line for line in lines if line and "zero-based" not in line)


@contextmanager
def quiet(path: Path | MemoryFile, hdu: int | str) -> Iterator[list[warnings.WarningMessage]]:
    """Collect astropy's warnings, and turn what it raises of a damaged file into `InvalidFile`.

    A mistake of a program is none of the file's: it is raised as it is. Nor are warnings of others, as of a file that
    somebody's notebook left open and Python collects just now.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", AstropyWarning)
        try:
            yield said
        except InvalidFile:
            raise
        except FileNotFoundError as error:
            msg = f"{path}: no such file"
            raise InvalidFile(msg) from error
        except _FAILURES as error:
            if _is_mistake(error):
                raise
            msg = f"{path}, HDU {hdu}: {type(error).__name__}: {error}"
            raise InvalidFile(msg) from error


@contextmanager
def silent() -> Iterator[None]:
    """Leave out astropy's warnings while writing; errors are what they are."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
