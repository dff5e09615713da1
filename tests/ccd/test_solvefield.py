"""Which star is which by astrometry.net or SCAMP: the tables of the built-in solver, and what is said of failures."""

from __future__ import annotations

import numpy as np
import pytest
from support.lsss import FIELD, aux_of, first_frame
from support.programs import needs, stand_in

from virtualobserver.ccd.programs import SCAMP, SOLVE_FIELD
from virtualobserver.conventions import ARCSEC_PER_DEGREE
from virtualobserver.data import Image, as_handle
from virtualobserver.errors import ProgramError
from virtualobserver.maths.astrometry.sphere import separation
from virtualobserver.observatories.lsss import VirtualLSSS
from virtualobserver.observatories.lsss.simulate import camera_of

FRAME = {"frames": 1, "movers": 0, "world": False, "pointing_error": 20.0, "distortion": 3.0, "dither": 0.0}
SOLVE = {"pixel_scale": 2.226 * 1.13}


@pytest.fixture(scope="module")
def frame():
    survey = VirtualLSSS(refcat="gaia@dr3", simulation=FRAME, solve=SOLVE)
    return survey, first_frame(survey)


def solved(survey, product, program="solve-field", **more):
    own = VirtualLSSS(refcat="gaia@dr3", simulation=FRAME, solve={**SOLVE, "program": program, **more})
    (wcs,) = own.refine("solve", [as_handle(product)], aux_of(survey), own.settings)
    return wcs


@pytest.mark.parametrize("program", [SOLVE_FIELD, SCAMP], ids=lambda one: one.package)
def test_tables_and_world_coordinates_are_those_of_the_built_in_solver(frame, program):
    needs(program)
    survey, product = frame
    made = solved(survey, product, program.names[0])
    assert made.statistics["solved"], made.statistics["reason"]
    assert made.statistics["solved_by"] == program.version()
    (own,) = survey.refine("solve", [as_handle(product)], aux_of(survey), survey.settings)
    assert "solved_by" not in own.statistics
    assert made.data.units == own.data.units
    assert list(made.data) == list(own.data)
    assert len(set(made.data["source_id"]) & set(own.data["source_id"])) > 0.98 * len(own.data)
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(0, 1091, 30), np.linspace(0, 735, 20)))
    found = Image(np.zeros((2, 2)), header=made.data.meta["wcs"]).wcs.all_pix2world(x, y, 0)
    true = camera_of(survey.settings.simulation, FIELD).to_sky(x, y)
    assert np.median(separation(*found, *true)) * ARCSEC_PER_DEGREE < 0.02


def test_a_frame_of_another_field_is_not_solved_and_says_so(frame):
    needs(SOLVE_FIELD)
    survey, product = frame
    near = {**SOLVE, "program": "solve-field", "radius": 0.4, "scale_error": 0.5}
    own = VirtualLSSS(refcat="gaia@dr3", simulation=FRAME, solve=near)
    (made,) = own.refine("solve", [as_handle(product)], aux_of(survey, seed=99), own.settings)
    assert made.statistics["solved"] is False
    assert "solve-field found none within" in made.statistics["reason"]


def test_an_own_configuration_file_names_the_index_files(frame, tmp_path, monkeypatch):
    survey, product = frame
    stand_in(
        tmp_path / "bin", "solve-field",
        f'for word in "$@"; do case "$word" in *.cfg) echo "$word" >> {tmp_path}/config;; esac; done; '
        "echo Did not solve",
        monkeypatch,
    )  # fmt: skip
    (tmp_path / "my.cfg").write_text("autoindex\n")
    made = solved(survey, product, config=str(tmp_path / "my.cfg"))
    assert made.statistics["solved"] is False
    assert set((tmp_path / "config").read_text().split()) == {str(tmp_path / "my.cfg")}
    with pytest.raises(ProgramError, match=r"solve\.config: there is no file"):
        solved(survey, product, config=str(tmp_path / "other.cfg"))


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo no room; exit 3", "ended with code 3: no room"),
        ("echo odd", "solve-field wrote no field.wcs: odd"),
    ],
)
def test_what_a_failing_program_says_fails_the_frame(frame, tmp_path, monkeypatch, script, said):
    survey, product = frame
    stand_in(tmp_path / "bin", "solve-field", script, monkeypatch)
    (tmp_path / "my.cfg").write_text("autoindex\n")
    with pytest.raises(ProgramError, match=said):
        solved(survey, product, config=str(tmp_path / "my.cfg"))


@pytest.mark.parametrize(("program", "package"), [("solve-field", r"astrometry\.net"), ("scamp", "scamp")])
def test_a_program_that_is_missing_is_an_error_with_debians_package(
    frame, tmp_path, monkeypatch, program, package
):
    survey, product = frame
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramError, match=rf"apt-get install {package}\).*or set solve\.program: builtin"):
        solved(survey, product, program)


def test_scamp_gets_cards_with_their_blanks_and_an_own_configuration(frame, tmp_path, monkeypatch):
    survey, product = frame
    stand_in(
        tmp_path / "bin",
        "scamp",
        f'cp "$1" {tmp_path}/field.ldac; echo "$3" > {tmp_path}/config; exit 1',
        monkeypatch,
    )
    (tmp_path / "my.scamp").write_text("DISTORT_DEGREES 2\n")
    with pytest.raises(ProgramError, match="scamp ended with code 1"):
        solved(survey, product, "scamp", config=str(tmp_path / "my.scamp"))
    assert (tmp_path / "config").read_text().strip() == str(tmp_path / "my.scamp")
    content = (tmp_path / "field.ldac").read_bytes()
    start = content.index(b"SIMPLE  =", 100)
    assert content[start + 80 : start + 160] == b"BITPIX  =                  -32".ljust(80)


def test_world_coordinates_of_scamp_that_match_nothing_do_not_stand(frame, tmp_path, monkeypatch):
    survey, product = frame
    head = tmp_path / "answer"
    cards = {
        "CRVAL1": 151.0,
        "CRVAL2": 20.0,
        "CRPIX1": 546.5,
        "CRPIX2": 368.5,
        "CD1_1": -6.2e-4,
        "CD2_2": 6.2e-4,
    }
    lines = [f"{key:<8}= {value:20}" for key, value in cards.items()]
    lines += ["COMMENT   by nobody", "CTYPE1  = 'RA---TAN'", "CTYPE2  = 'DEC--TAN'", "END"]
    head.write_text("\n".join(lines) + "\n")
    stand_in(tmp_path / "bin", "scamp", f'cp {head} "${{1%.ldac}}.head"', monkeypatch)
    made = solved(survey, product, "scamp")
    assert made.statistics["solved"] is False
    assert "no plate solution from the world coordinates given" in made.statistics["reason"]
