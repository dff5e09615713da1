"""Unpack zip and tar files that came from outside, refusing what could do harm before writing anything."""

from __future__ import annotations

import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from virtualobserver.errors import InvalidFile, UnsafePath

__all__ = ["safe_unpack"]

_PIECE = 1 << 20
_LONGEST_NAME = 255


@dataclass(frozen=True, kw_only=True)
class _Limits:
    max_bytes: int
    max_members: int
    max_ratio: float


def safe_unpack(
    path: Path,
    folder: Path,
    *,
    max_bytes: int = 20 * 1024**3,
    max_members: int = 100_000,
    max_ratio: float = 200.0,
) -> list[Path]:
    """Unpack a zip or tar file into a folder, all of it or nothing.

    Every member is looked at before the first byte is written. Archives inside the archive stay packed.

    Parameters
    ----------
    path
        A zip, tar, tar.gz, tar.bz2 or tar.xz file.
    folder
        Where the members go; made if needed, files of equal name are replaced.
    max_bytes
        Of all members together, unpacked.
    max_members
        Files and folders together.
    max_ratio
        Unpacked over packed bytes.

    Returns
    -------
    list of Path
        The files written, in the order of the archive.

    Raises
    ------
    UnsafePath
        If a member would leave the folder, or is a link or a device.
    InvalidFile
        If a limit is exceeded, two members share a name, or the file is no readable archive.
    """
    limits = _Limits(max_bytes=max_bytes, max_members=max_members, max_ratio=max_ratio)
    try:
        is_zip = zipfile.is_zipfile(path)
        names = _check(path, _zip_members(path) if is_zip else _tar_members(path), limits)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpack-", dir=folder) as temporary:
            (_write_zip if is_zip else _write_tar)(path, Path(temporary))
            return [_move(Path(temporary), folder, name) for name in names]
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError) as exc:
        msg = f"{path}: not a readable zip or tar file: {exc}"
        raise InvalidFile(msg) from exc


def _move(temporary: Path, folder: Path, name: str) -> Path:
    target = folder / name
    if not target.parent.resolve().is_relative_to(folder.resolve()):
        msg = f"{target}: a link inside {folder} leads out of it; remove the link"
        raise UnsafePath(msg)
    target.parent.mkdir(parents=True, exist_ok=True)
    (temporary / name).replace(target)
    return target


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    kind: str


def _zip_members(path: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            mode = info.external_attr >> 16
            kind = "folder" if info.is_dir() else "file"
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                kind = "link" if stat.S_ISLNK(mode) else "device"
            # orig_filename: the library cuts at NUL and would show another name than the archive holds
            yield _Member(info.orig_filename, info.file_size, kind)


def _tar_members(path: Path) -> Iterator[_Member]:
    with tarfile.open(path) as archive:
        for info in archive:
            kind = "file" if info.isreg() else "folder" if info.isdir() else "device"
            yield _Member(info.name, info.size, "link" if info.issym() or info.islnk() else kind)


def _safe_name(path: Path, name: str) -> str:
    parts = PurePosixPath(name.rstrip("/")).parts
    bad = (
        not parts
        or name.startswith("/")
        or "\\" in name
        or (len(name) > 1 and name[1] == ":")
        or ".." in parts
        or any(ord(letter) < 32 for letter in name)
        or any(len(part.encode(errors="replace")) > _LONGEST_NAME for part in parts)
    )
    if bad and name not in (".", "./"):
        msg = (
            f"{path}: member {name[:200]!r} would leave the folder or has an unusable name; nothing unpacked"
        )
        raise UnsafePath(msg)
    return str(PurePosixPath(*parts)) if parts else "."


def _check(path: Path, members: Iterator[_Member], limits: _Limits) -> list[str]:
    """Look at all members; return the names of the files."""
    packed = max(path.stat().st_size, 1)
    names: dict[str, None] = {}
    size = 0
    for count, member in enumerate(members, start=1):
        name = _safe_name(path, member.name)
        if member.kind not in ("file", "folder"):
            msg = f"{path}: member {name!r} is a {member.kind}; nothing unpacked"
            raise UnsafePath(msg)
        size += member.size
        if count > limits.max_members:
            msg = f"{path}: more than {limits.max_members} members; nothing unpacked"
            raise InvalidFile(msg)
        if size > limits.max_bytes or size > limits.max_ratio * packed + _PIECE:
            msg = f"{path}: unpacks to {size} bytes or more from {packed}; nothing unpacked"
            raise InvalidFile(msg)
        if member.kind == "file":
            if name in names:
                msg = f"{path}: two members are named {name!r}; nothing unpacked"
                raise InvalidFile(msg)
            names[name] = None
    return list(names)


def _copy(source: IO[bytes], target: Path, size: int, path: Path) -> None:
    """Copy what the index promised; a body longer than that is a bomb with a false label."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as out:
        left = size
        while piece := source.read(min(_PIECE, left + 1)):
            left -= len(piece)
            if left < 0:
                msg = f"{path}: member {target.name!r} is longer than its index says"
                raise InvalidFile(msg)
            out.write(piece)
    if left:
        msg = f"{path}: member {target.name!r} is shorter than its index says; the archive was cut"
        raise InvalidFile(msg)


def _write_zip(path: Path, folder: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                with archive.open(info) as source:
                    _copy(source, folder / _safe_name(path, info.orig_filename), info.file_size, path)


def _write_tar(path: Path, folder: Path) -> None:
    with tarfile.open(path) as archive:
        for info in archive:
            source = archive.extractfile(info) if info.isreg() else None
            if source is not None:
                with source:
                    _copy(source, folder / _safe_name(path, info.name), info.size, path)
