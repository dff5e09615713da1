import numpy as np
import pandas as pd
import pytest
from support.harps import STAR, Client, adp, reduced

from virtualobserver.conventions import SPECTRUM_MASK_NOT_COVERED
from virtualobserver.data.product import Raw, RawRef, Target
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.exports.harps_dataset import published_window, write_star
from virtualobserver.observatories.harps import VirtualHARPS, tree
from virtualobserver.observatory import Aux

NAME = Target("HD-39060", ra=86.8212, dec=-51.0665)


@pytest.fixture
def star(tmp_path):
    """A tree with one star of four usable spectra and a dead one."""
    files = {f"ADP.{n}": adp(n) for n in range(4)} | {"ADP.dead": adp(5, np.zeros(8001))}
    sets = {p.series: p.data for p in reduced(files)}
    write_star(tmp_path, NAME.name, sets)
    return tmp_path / "hd39060", sets


def test_tree_has_the_files_and_shapes_the_scripts_want(star):
    folder, sets = star
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    assert found == [
        "meta/fits.npy", "meta/group_df.csv", "meta/group_df.pkl", "spec/sH.npy", "spec/sK.npy",
        "wavelength/rvH.npy", "wavelength/rvK.npy", "wavelength/wH.npy", "wavelength/wK.npy",
    ]  # fmt: skip
    for line, first, last, v in (("K", 3923.66, 3943.65, -762.649), ("H", 3958.47, 3978.46, -755.959)):
        flux = np.load(folder / "spec" / f"s{line}.npy")
        wave = np.load(folder / "wavelength" / f"w{line}.npy")
        rv = np.load(folder / "wavelength" / f"rv{line}.npy")
        assert (flux.shape, flux.dtype) == ((4, 2000), np.float64)
        assert (wave[0], wave[-1]) == (first, last)
        assert rv[0] == pytest.approx(v, abs=1e-3)
        assert rv[1000] == pytest.approx(0, abs=1e-9)
        at = np.flatnonzero(sets[line].wave == first)[0]
        good = [n for n in range(5) if sets[line].epochs["archive_id"][n] != "ADP.dead"]
        assert np.array_equal(flux, sets[line].flux[good][:, at : at + 2000])
    frame = pd.read_csv(folder / "meta" / "group_df.csv")
    assert frame["Reduced"].tolist() == ["hd39060"] * 4
    assert np.load(folder / "meta" / "fits.npy").tolist() == [f"ADP.{n}.fits" for n in range(4)]


def test_tree_read_as_archive_gives_the_same_pixels_and_dates(star):
    folder, sets = star
    survey = VirtualHARPS(reference="never")
    landed = list(survey.fetch([NAME], Client(folder.parent)))
    assert {raw.format for _, raw in landed} == {"npy", "csv"}
    products = survey.reduce([RawRef.of(raw) for _, raw in landed], Aux(NAME), survey.settings)
    for product in products:
        old, new = sets[product.series], product.data
        assert len(new) == 4
        inside = (new.mask & SPECTRUM_MASK_NOT_COVERED) == 0
        assert (inside.sum(axis=1) == 2000).all()
        good = [n for n in range(5) if old.epochs["archive_id"][n] != "ADP.dead"]
        np.testing.assert_array_equal(new.flux[inside].reshape(4, -1), old.flux[good][:, inside[0]])
        np.testing.assert_allclose(new.mjd, old.mjd[good])
        np.testing.assert_allclose(new.epochs["snr"], old.epochs["snr"][good], rtol=0.05)


def test_fault_22_pickles_of_a_tree_are_never_loaded(star):
    folder, _ = star
    np.save(folder / "spec" / "sK.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    survey = VirtualHARPS(reference="never")
    landed = list(survey.fetch([NAME], Client(folder.parent)))
    assert not any(str(raw.path).endswith(".pkl") for _, raw in landed)
    with pytest.raises(InvalidFile, match="never loaded"):
        survey.reduce([RawRef.of(raw) for _, raw in landed], Aux(NAME), survey.settings)


def test_tree_without_dates_says_what_is_missing(star):
    folder, _ = star
    (folder / "meta" / "group_df.csv").unlink()
    survey = VirtualHARPS(reference="never")
    landed = list(survey.fetch([NAME], Client(folder.parent)))
    rows = survey.reduce([RawRef.of(r) for _, r in landed], Aux(NAME), survey.settings)[0].data.epochs
    assert "group_df.csv" in rows["reason"][0]
    assert rows["night"].tolist() == [-1] * 4


def test_arrays_that_do_not_fit_together_are_refused(star):
    folder, _ = star
    np.save(folder / "spec" / "sH.npy", np.ones((3, 2000)))
    landed = list(tree.raws(folder))
    with pytest.raises(InvalidFile, match="different numbers"):
        tree.exposures([RawRef.of(raw) for raw in landed])


def test_published_window_of_a_narrow_product_is_an_error():
    data = reduced({"a": adp()}, half_width=300.0)[0].data
    with pytest.raises(DataError, match="1000 pixels"):
        published_window(data, "K")


def test_name_of_a_star_cannot_leave_the_tree(tmp_path):
    sets = {p.series: p.data for p in reduced([Raw("a", "fits", content=adp())])}
    inside = tmp_path / "in"
    written = write_star(inside, "../../x", sets)
    assert written.resolve().is_relative_to(inside.resolve())
    assert STAR.name == "star"
