"""External programs that can do parts of the recipe: found on the path, started, and heard when they fail."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from virtualobserver.ccd.settings import DetectSettings, SolveSettings
from virtualobserver.config.paths import nearest
from virtualobserver.errors import ProgramError

__all__ = [
    "BUILD_INDEX",
    "SCAMP",
    "SOLVE_FIELD",
    "SOURCE_EXTRACTOR",
    "Program",
    "detected_by",
    "own_file",
    "scratch",
    "solved_by",
]

_SAID: Final = 12
"""Last lines of what a program says that stand in our error. Chosen: they name the cause last, and more hides it."""
_VERSION_SECONDS: Final = 30.0
"""Enough for a program to say its version, on a busy machine too."""
_CODES: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
"""Escapes by which programs move the cursor and colour what they say."""


@dataclass(frozen=True)
class Program:
    """An external program.

    Parameters
    ----------
    names
        Under which it may be on the path, tried in this order.
    package
        Of Debian that holds it.
    setting
        That asked for it.
    """

    names: tuple[str, ...]
    package: str
    setting: str

    def find(self) -> Path:
        """Return where it is.

        Raises
        ------
        ProgramError
            If it is not on the path; names the package.
        """
        for name in self.names:
            if found := shutil.which(name):
                return Path(found)
        msg = (
            f"{' or '.join(self.names)} is not on the path, and {self.setting} asks for it: install Debian's package "
            f"{self.package} (apt-get install {self.package}), or set {self.setting}: builtin"
        )
        raise ProgramError(msg)

    def version(self) -> str:
        """Return name and version, as ``source-extractor 2.25.0``; the name alone where it does not say."""
        path = self.find()
        return f"{self.names[0]} {_version(path, path.stat().st_mtime_ns)}".strip()

    def run(self, arguments: Sequence[str | Path], *, folder: Path, timeout: float) -> str:
        """Run it in a folder, without a shell, and return what it said.

        Raises
        ------
        ProgramError
            If it is missing, does not end in `timeout` seconds, or ends with an error: with its last words.
        """
        path = self.find()
        try:
            done = subprocess.run(
                [str(path), *map(str, arguments)], cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=timeout, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            msg = f"{path.name} did not end within {timeout:g} s; raise detect.timeout{_words(error.stdout)}"
            raise ProgramError(msg) from error
        except OSError as error:
            msg = f"{path} cannot be started: {error.strerror or error}; is it a program for this machine?"
            raise ProgramError(msg) from error
        if done.returncode:
            msg = f"{path.name} ended with code {done.returncode}{_words(done.stdout)}"
            raise ProgramError(msg)
        return done.stdout.decode(errors="replace")

    def check_written(self, path: Path, said: str) -> None:
        """Check that it wrote what it was asked for: some end with code 0 whatever happens.

        Raises
        ------
        ProgramError
            If it did not; with its last words.
        """
        if not path.is_file() or not path.stat().st_size:
            msg = f"{self.names[0]} wrote no {path.name}{_words(said.encode())}"
            raise ProgramError(msg)


SOURCE_EXTRACTOR: Final = Program(("source-extractor", "sex"), "source-extractor", "detect.program")
SOLVE_FIELD: Final = Program(("solve-field",), "astrometry.net", "solve.program")
SCAMP: Final = Program(("scamp",), "scamp", "solve.program")
BUILD_INDEX: Final = Program(("build-astrometry-index",), "astrometry.net", "solve.program")


def detected_by(own: DetectSettings) -> dict[str, str]:
    """Return which program found sources, with its version, as a fact of products; nothing if it is this package."""
    return {} if own.program == "builtin" else {"detected_by": SOURCE_EXTRACTOR.version()}


def solved_by(own: SolveSettings) -> dict[str, str]:
    """Return which program found which star is which, as `detected_by` does."""
    programs = {"solve-field": SOLVE_FIELD, "scamp": SCAMP}
    return {"solved_by": programs[own.program].version()} if own.program in programs else {}


def own_file(path: str | None, setting: str) -> Path | None:
    """Return a configuration file that settings name, absolute; None for None.

    Raises
    ------
    ProgramError
        If there is none.
    """
    if path is None:
        return None
    if not (found := Path(path)).is_file():
        msg = f"{setting}: there is no file {path}{nearest(found)}"
        raise ProgramError(msg)
    return found.resolve()


@contextmanager
def scratch() -> Iterator[Path]:
    """Give a folder for the files between us and a program, which vanishes."""
    with tempfile.TemporaryDirectory(prefix="vo-program-") as folder:
        yield Path(folder)


@lru_cache(maxsize=16)
def _version(path: Path, _changed: int) -> str:
    try:
        done = subprocess.run(
            [str(path), "--version"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            timeout=_VERSION_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(rb"\d+\.\d+(?:\.\d+)*", done.stdout)
    return found.group().decode() if found else ""


def _words(said: bytes | None) -> str:
    """Return the last lines of what a program said, to stand at the end of an error."""
    text = _CODES.sub("", (said or b"").decode(errors="replace")).replace("\r", "\n")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return ": " + " | ".join(lines[-_SAID:]) if lines else ", and said nothing"
