"""The repository keeps its own rules."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest
from support.paths import ROOT

HEAVY = (
    "alembic",
    "astropy",
    "h5py",
    "matplotlib",
    "numba",
    "numpy",
    "pandas",
    "psycopg2",
    "pyarrow",
    "pydantic",
)
HEAVY += ("requests", "rich", "scipy", "sqlalchemy", "typer", "xarray")
LONGEST_IMPORT = 0.3  # seconds
LARGEST_FILE = 500_000  # bytes


@cache
def our_files() -> tuple[Path, ...]:
    """Return every file of the repository, committed or about to be."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone: which files belong to the project is not known")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def text_of(path: Path) -> str:
    """Return a file's text, or nothing if it holds none."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


def fresh_python(code: str) -> str:
    """Run code in a new interpreter and return what it prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_alembic_folder_has_no_init_file() -> None:
    assert (ROOT / "alembic").is_dir()
    assert not list((ROOT / "alembic").rglob("__init__.py"))


def test_alembic_library_is_not_hidden_by_the_folder() -> None:
    printed = fresh_python("import alembic.command; print(alembic.command.__file__)")
    assert ROOT / "alembic" not in Path(printed.strip()).parents


def test_no_file_is_larger_than_500_kb() -> None:
    large = {str(path.relative_to(ROOT)) for path in our_files() if path.stat().st_size > LARGEST_FILE}
    assert large == set()


def test_no_file_names_a_path_of_one_machine() -> None:
    pattern = re.compile(r"(?:^|[\s\"'(=:])/(?:root|work|farm|Users|home)/\w", re.MULTILINE)
    found = {
        f"{path.relative_to(ROOT)}: {match.group().strip()}"
        for path in our_files()
        if path != Path(__file__).resolve()
        for match in pattern.finditer(text_of(path))
    }
    assert found == set()


def test_import_is_fast() -> None:
    code = (
        "import time; start = time.process_time(); import virtualobserver; print(time.process_time() - start)"
    )
    fastest = min(float(fresh_python(code)) for _ in range(3))
    assert fastest < LONGEST_IMPORT


def test_import_loads_no_heavy_library() -> None:
    printed = fresh_python("import sys, virtualobserver; print(*sys.modules)")
    assert {name.split(".")[0] for name in printed.split()} & set(HEAVY) == set()


def test_import_opens_no_file_socket_or_process() -> None:
    code = """
import os, sys
seen = []
def watch(event, args):
    if event == "open" and isinstance(args[0], str):
        if not args[0].endswith((".py", ".pyc")) and "__pycache__" not in args[0]:
            seen.append(args[0])
    elif event.startswith(("socket.", "subprocess.", "os.fork", "os.posix_spawn", "os.mkdir")):
        seen.append(event)
sys.addaudithook(watch)
import virtualobserver
print(*seen, sep="\\n")
"""
    assert fresh_python(code).split() == []


def test_every_required_package_has_one_pinned_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    lines = [
        line for line in text_of(ROOT / "constraints.txt").splitlines() if line and not line.startswith("#")
    ]
    assert [line for line in lines if not re.fullmatch(r"[a-z0-9-]+==[\w.+!]+", line)] == []
    pinned = [line.split("==")[0] for line in lines]
    assert len(pinned) == len(set(pinned))
    names = {re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", name)[0]).lower() for name in wanted}
    assert names - set(pinned) == set()


def test_shipped_target_lists_have_their_columns_and_possible_values() -> None:
    lists = sorted((ROOT / "catalogs").glob("*.csv"))
    assert lists
    described = text_of(ROOT / "catalogs" / "README.md")
    for path in lists:
        assert f"`{path.name}`" in described
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0])[:3] == ["name", "ra", "dec"]
        assert len({row["name"] for row in rows}) == len(rows)
        assert all(0 <= float(row["ra"]) < 360 and -90 <= float(row["dec"]) <= 90 for row in rows)


def test_bright_stars_are_where_the_sky_has_them() -> None:
    with (ROOT / "catalogs" / "bright_stars.csv").open(newline="", encoding="utf-8") as file:
        stars = {row["name"]: row for row in csv.DictReader(file)}
    # Vega: 18 36 56.33635 +38 47 01.2802 (Hipparcos, the new reduction)
    assert float(stars["Vega"]["ra"]) == pytest.approx(15 * (18 + 36 / 60 + 56.33635 / 3600), abs=1e-7)
    assert float(stars["Vega"]["dec"]) == pytest.approx(38 + 47 / 60 + 1.2802 / 3600, abs=1e-7)
    # Sirius lies south of the equator: the sign holds for minutes and seconds as well.
    assert float(stars["Sirius"]["dec"]) == pytest.approx(-(16 + 42 / 60 + 58.0171 / 3600), abs=1e-7)
