"""What the system refuses is one sentence: what, where, and what to do; nothing that was there is lost."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from support.project import mirror, settings

from virtualobserver import Project
from virtualobserver.cli import main
from virtualobserver.io import atomic


@pytest.fixture(scope="module")
def place(tmp_path_factory, module_url):
    """A folder with a project that ran: its configuration and its data."""
    place = tmp_path_factory.mktemp("place")
    (place / "p.yaml").write_text(json.dumps(settings(mirror(place / "mirror", ["star"]), ["star"])))
    with Project.open(place / "p.yaml", data=place / "data", url=module_url) as project:
        project.run()
    return place


@pytest.fixture
def vo(place, module_url, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setenv("VO_DATABASE_URL", module_url)

    def call(*words, data=place / "data"):
        code = main([str(word) for word in (*words, "--data", data)])
        return code, capsys.readouterr().err

    return call


def refuse(monkeypatch, folder, number):
    """Let nobody make a file in a folder, as on a disk mounted read-only; the tests may run as root."""
    real = os.open

    def refusing(path, flags, *more, **options):
        if flags & os.O_CREAT and Path(path).parent == folder:
            raise OSError(number, os.strerror(number), str(path))
        return real(path, flags, *more, **options)

    monkeypatch.setattr(atomic.os, "open", refusing)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
@pytest.mark.parametrize("words", [("export", "p.yaml", "sources"), ("plot", "p.yaml", "star")])
def test_a_folder_that_nobody_may_write_is_said_with_the_file_that_was_asked_for(
    tmp_path, vo, monkeypatch, number, words
):
    out = tmp_path / "out" / ("t.csv" if words[0] == "export" else "t.png")
    out.parent.mkdir()
    refuse(monkeypatch, out.parent, number)
    code, said = vo(*words, "--out", out)
    assert code == 3
    assert said.count("\n") == 1
    assert f"vo: {out} cannot be used ({os.strerror(number)}); give yourself the right to it" in said


def test_a_picture_that_finds_no_room_leaves_the_older_one(tmp_path, vo, monkeypatch):
    out = tmp_path / "p.png"
    assert vo("plot", "p.yaml", "star", "--out", out)[0] == 0
    before = out.read_bytes()
    assert before.startswith(b"\x89PNG")

    def full(self, place, **options):
        place.write_bytes(b"half a picture")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", full)
    code, said = vo("plot", "p.yaml", "star", "--out", out, "--force")
    assert code == 3
    assert f"no room for {out}" in said
    assert out.read_bytes() == before
    assert not list(tmp_path.glob(".vo-*"))


def test_a_picture_has_the_name_that_was_asked_for(tmp_path, vo):
    assert vo("plot", "p.yaml", "star", "--out", tmp_path / "picture")[0] == 0
    assert (tmp_path / "picture").read_bytes().startswith(b"\x89PNG")
    assert vo("plot", "p.yaml", "star", "--out", tmp_path / "p.xyz")[0] == 2
    assert not (tmp_path / "p.xyz").exists()


@pytest.mark.parametrize("below", [False, True])
def test_a_data_folder_that_is_a_file_is_said_as_that(tmp_path, vo, below):
    (tmp_path / "notes.txt").write_text("mine")
    place = tmp_path / "notes.txt" / "data" if below else tmp_path / "notes.txt"
    code, said = vo("run", "p.yaml", data=place)
    assert code == 3
    assert f"{place} is or lies below a file, and a folder is needed there" in said
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_target_list_without_targets_is_said(tmp_path, vo):
    (tmp_path / "none.csv").write_text("name,ra,dec\n")
    found = {"name": "none", "catalog": {"file": str(tmp_path / "none.csv")}, "observatories": {"demo": {}}}
    (tmp_path / "none.yaml").write_text(json.dumps(found))
    code, said = vo("run", tmp_path / "none.yaml")
    assert (code, said.count("the target list holds no targets; check catalog")) == (0, 1)
    assert "no targets" not in vo("run", "p.yaml")[1]


def test_what_a_table_of_targets_cannot_give_is_said_in_a_line_and_a_position_of_several_values_refused(
    place, vo
):
    stars = Table(
        {"name": ["a"], "ra": [1.0], "dec": [2.0], "both": np.ones((1, 2)), "psf": np.ones((1, 3, 3))}
    )
    stars.write(place / "stars.fits", overwrite=True)
    told = settings(mirror(place / "mirror", ["star"]), ["star"]) | {"name": "vectors"}

    def run(**catalog):
        (place / "vectors.yaml").write_text(json.dumps(told | {"catalog": {"file": "stars.fits", **catalog}}))
        return vo("run", "vectors.yaml", "--step", "fetch")

    code, said = run()
    assert code == 0
    assert (
        said.count(
            "stars.fits: columns with several values a row are left out: both (2), psf (3x3); give each"
        )
        == 1
    )
    assert ".py" not in said
    assert "LostFact" not in said
    code, said = run(columns={"ra": "both"})
    assert code == 2
    assert (
        "column 'both' of the catalogue stars has 2 values a row and cannot be ra; give each value its own"
        in said
    )


@pytest.mark.parametrize("words", [("vet", "p.yaml", "--user", ""), ("verdicts", "p.yaml", "--user", "  ")])
def test_a_name_that_is_empty_is_not_that_of_who_is_logged_in(vo, words):
    code, said = vo(*words)
    assert code == 2
    assert "'--user': is empty; give a name, or leave the option out" in said
