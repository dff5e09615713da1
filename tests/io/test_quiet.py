"""What a damaged file raises is an error of the file; a program's mistake stays what it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from support.kbmod import made, results

from virtualobserver.errors import InvalidFile
from virtualobserver.io.fits.structure import check_structure, quiet
from virtualobserver.io.kbmod.tables import read_results, write_results
from virtualobserver.io.kbmod.workunit import (
    read_workunit,
    read_workunit_head,
    read_workunit_image,
    write_workunit,
)


def test_a_path_may_be_text(tmp_path):
    write_workunit(tmp_path / "one.fits", made())
    path = str(tmp_path / "one.fits")
    assert read_workunit_head(path).number == len(read_workunit(path).mjd) == 3
    assert read_workunit_image(path, 0).science.shape[0] == 1
    write_results(str(tmp_path / "found.ecsv"), results())
    assert len(read_results(str(tmp_path / "found.ecsv")).columns["x"])


@pytest.mark.parametrize("thing", [3, None, b"one.fits", ["one.fits"]])
def test_what_is_no_path_is_a_mistake_and_no_damaged_file(thing):
    with pytest.raises((TypeError, AttributeError)):
        read_workunit(thing)
    with pytest.raises((TypeError, AttributeError)):
        check_structure(thing)


def no_such_argument():
    return check_structure("a", strict=True)


@pytest.mark.parametrize("mistake", [no_such_argument, check_structure])
def test_a_wrong_call_inside_stays_what_it_is(mistake):
    with pytest.raises(TypeError, match="argument"), quiet(Path("a.fits"), 0):
        mistake()


def test_an_attribute_that_this_package_gets_wrong_stays_what_it_is(monkeypatch, tmp_path):
    write_workunit(tmp_path / "one.fits", made())
    monkeypatch.setattr("virtualobserver.io.kbmod.workunit.config_of", None)
    with pytest.raises(TypeError, match="not callable"):
        read_workunit_head(tmp_path / "one.fits")
    monkeypatch.setattr("virtualobserver.io.kbmod.workunit.afits", object())
    with pytest.raises(AttributeError, match="open"):
        read_workunit_head(tmp_path / "one.fits")


def test_damage_is_still_an_error_of_the_file(tmp_path):
    path = tmp_path / "one.fits"
    write_workunit(path, made())
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(InvalidFile, match=r"one\.fits"):
        read_workunit(path)
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(path, overwrite=True)
    with pytest.raises(InvalidFile, match="not a WorkUnit"):
        read_workunit(path)


def test_what_cannot_be_written_is_no_damaged_file(tmp_path):
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        write_workunit(tmp_path / "one.fits", None)
    assert not isinstance(caught.value, InvalidFile)
