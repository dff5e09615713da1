"""KBMOD's files: golden ones read exactly, ours read by a literal reader of the format's table."""

import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits
from ruamel.yaml import YAML
from support.kbmod import CARDS, literal_read, made, results
from support.real import real_data

from virtualobserver.analyses.moving_objects import MovingObjects
from virtualobserver.data import Target, as_handle
from virtualobserver.errors import DataError, InvalidFile
from virtualobserver.io.kbmod.config import default_config, yaml_scalar
from virtualobserver.io.kbmod.images import images_of, workunit_of
from virtualobserver.io.kbmod.tables import (
    KbmodResults,
    read_image_collection,
    read_results,
    results_of,
    write_image_collection,
    write_results,
)
from virtualobserver.io.kbmod.workunit import WorkUnit, read_workunit, shard_path, write_workunit
from virtualobserver.maths.shiftstack.explain import Mover
from virtualobserver.maths.shiftstack.images import gaussian_psf, psf_sigma
from virtualobserver.maths.shiftstack.refine import Refined
from virtualobserver.maths.times import Site
from virtualobserver.observatory import Aux


@pytest.mark.parametrize("sharded", [False, True])
def test_workunit_is_what_the_format_says_and_returns_without_loss(tmp_path, sharded):
    unit, path = (
        made(config=default_config() | {"lh_level": 7.5, "x_pixel_bounds": [-3, 40]}),
        tmp_path / "work.fits",
    )
    write_workunit(path, unit, sharded=sharded)
    assert sorted(one.name for one in tmp_path.iterdir()) == (
        ["0_work.fits", "1_work.fits", "2_work.fits", "work.fits"] if sharded else ["work.fits"]
    )
    config, arrays = literal_read([path, *(shard_path(path, i) for i in range(3))] if sharded else [path])
    assert config["lh_level"] == 7.5
    assert config["x_pixel_bounds"] == [-3, 40]
    assert config["near_dup_thresh"] == 10
    assert "color_scale" not in config
    assert len(config) == 44
    expected = np.where(unit.mask != 0, np.nan, unit.science)
    for i, (mjd, science, variance, mask, psf) in enumerate(arrays):
        assert mjd == unit.mjd[i]
        np.testing.assert_array_equal(science, expected[i])
        np.testing.assert_array_equal(variance[mask == 0], unit.variance[i][mask == 0])
        np.testing.assert_array_equal(psf, unit.psf[i])
    back = read_workunit(path)
    np.testing.assert_array_equal(back.science, expected)
    np.testing.assert_array_equal(back.mask, unit.mask)
    assert back.observer == unit.observer
    assert back.wcs == (CARDS,) * 3
    assert back.indices == ((0,), (1,), (2,))
    assert back.meta == {"visit": [0, 1, 2], "filter": ["R"] * 3}
    assert back.meta_wcs["per_image_wcs"] == [CARDS] * 3
    assert back.config == config
    assert (back.reprojected, back.frame, back.distance, back.global_wcs) == (False, "", None, None)


def test_small_variances_survive_and_the_lossy_form_refuses_them(tmp_path):
    unit = made(scale=float(np.sqrt(1e-3)))
    write_workunit(tmp_path / "a.fits", unit)
    back = read_workunit(tmp_path / "a.fits")
    good = unit.mask == 0
    np.testing.assert_array_equal(back.variance[good], unit.variance[good])
    assert 0 < float(back.variance[good].min()) < 1e-3
    with pytest.raises(DataError, match="lossless"):
        write_workunit(tmp_path / "b.fits", unit, lossless=False)
    assert not (tmp_path / "b.fits").exists()


def test_lossy_form_keeps_steps_of_a_hundredth(tmp_path):
    unit = made(scale=10.0)
    write_workunit(tmp_path / "a.fits", unit, lossless=False)
    with fits.open(tmp_path / "a.fits", disable_image_compression=True) as raw:
        assert raw["SCI_0"].header["ZCMPTYPE"] == "RICE_1"
        assert (raw["SCI_0"].header["ZTILE1"], raw["SCI_0"].header["ZTILE2"]) == (32, 1)
    back = read_workunit(tmp_path / "a.fits")
    np.testing.assert_array_equal(back.mask, unit.mask)
    good = unit.mask == 0
    assert np.abs(back.science - unit.science)[good].max() <= 0.0051
    assert np.abs(back.science - unit.science)[good].max() > 0


def test_reprojected_workunit_keeps_frame_distance_and_constituents(tmp_path):
    unit = made(
        n=2, wcs=(CARDS,) * 2, meta={"visit": [1, 2, 3]}, indices=((0, 2), (1,)), reprojected=True, frame="ebd",
        distance=40.5, global_wcs=CARDS,
    )  # fmt: skip
    write_workunit(tmp_path / "a.fits", unit)
    header = fits.getheader(tmp_path / "a.fits")
    assert (header["NCON"], header["REPFRAME"], header["BARY"], header["DIMM1"], header["NAXIS"]) == (
        3,
        "ebd",
        40.5,
        32,
        0,
    )
    back = read_workunit(tmp_path / "a.fits")
    assert back.indices == ((0, 2), (1,))
    assert (back.frame, back.distance, back.reprojected, back.global_wcs) == ("ebd", 40.5, True, CARDS)


def test_common_world_coordinates_without_resampling_are_refused(tmp_path):
    with pytest.raises(DataError, match="resampled"):
        write_workunit(tmp_path / "a.fits", made(global_wcs=CARDS))


def test_images_out_of_order_are_refused():
    with pytest.raises(DataError, match="order of time"):
        WorkUnit(
            np.array([2.0, 1.0]),
            *(np.zeros((2, 5, 5), t) for t in ("f4", "f4", "u1")),
            (gaussian_psf(1),) * 2,
            Site(0, 0, 0),
        )


def test_reader_does_without_mask_psf_and_site(tmp_path):
    write_workunit(tmp_path / "a.fits", made(config={"psf_val": 2.0}))
    with fits.open(tmp_path / "a.fits") as units:
        for key in ("OBS_LAT", "OBS_LON", "OBS_ELEV"):
            del units[0].header[key]
        kept = fits.HDUList([unit for unit in units if not unit.name.startswith(("MSK", "PSF"))])
        kept.writeto(tmp_path / "b.fits")
    back, whole = read_workunit(tmp_path / "b.fits"), read_workunit(tmp_path / "a.fits")
    np.testing.assert_array_equal(back.mask, whole.mask)
    np.testing.assert_array_equal(back.psf[0], gaussian_psf(2.0))
    assert back.observer.lat == pytest.approx(-30.24, abs=0.01)


def test_damaged_or_foreign_files_are_named(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU().writeto(path)
    with pytest.raises(InvalidFile, match="NUMIMG"):
        read_workunit(path)
    write_workunit(tmp_path / "s.fits", made(), sharded=True)
    shard_path(tmp_path / "s.fits", 1).unlink()
    with pytest.raises(InvalidFile, match=r"1_s\.fits"):
        read_workunit(tmp_path / "s.fits")


@pytest.mark.real
@pytest.mark.parametrize("name", ["workunit.fits", "workunit_lossless.fits"])
def test_golden_workunits_are_read_exactly_and_written_again(name, tmp_path):
    path = real_data("ccd", "kbmod_golden", name)
    unit = read_workunit(path)
    assert unit.science.shape == (12, 80, 96)
    assert [len(kernel) for kernel in unit.psf] == [7, 7, 9] * 4
    assert unit.observer == Site(pytest.approx(123.35), -75.1, pytest.approx(3233.0))
    assert unit.config["generator_config"]["vx_steps"] == 21
    assert (unit.config["lh_level"], unit.config["sigmaG_lims"]) == (7.0, [25, 75])
    assert unit.meta["data_loc"][11] == "frame_011.fits"
    assert len(unit.meta["visit"]) == 12
    write_workunit(tmp_path / "again.fits", unit)
    again = read_workunit(tmp_path / "again.fits")
    with fits.open(path) as units:
        for i in range(12):
            for copy in (unit, again):
                np.testing.assert_array_equal(copy.science[i], units[f"SCI_{i}"].data)
                np.testing.assert_array_equal(copy.variance[i], units[f"VAR_{i}"].data)
                np.testing.assert_array_equal(copy.psf[i], units[f"PSF_{i}"].data)
                np.testing.assert_array_equal(copy.mask[i], units[f"MSK_{i}"].data)
                assert copy.mjd[i] == units[f"SCI_{i}"].header["MJD"]
    assert again.wcs == unit.wcs
    assert (again.meta, again.meta_wcs) == (unit.meta, unit.meta_wcs)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (20.0, "20.0\n..."), (None, "null\n..."), ([25, 75], "[25, 75]"), (False, "false\n..."),
        ("mean", "mean\n..."), ("no", "'no'\n..."), ("pix / d", "pix / d\n..."), (1e-5, "1.0e-05\n..."),
        ({"name": "X", "v": [1.0, 2]}, "{name: X, v: [1.0, 2]}"), ("a: b", "'a: b'\n..."),
    ],
)  # fmt: skip
def test_parameters_are_flow_scalars_of_yaml(value, text):
    assert yaml_scalar(value) == text
    assert YAML(typ="safe", pure=True).load(io.StringIO(text)) == value


# --- tables -----------------------------------------------------------------------------------------------


def collection(n=3):
    return pd.DataFrame(
        {
            "mjd_mid": 60100.25 + 0.01 * np.arange(n), "ra": [75.0 + 0.1 * k for k in range(n)], "dec": [-65.0] * n,
            "wcs": [json.dumps(CARDS | {"CRVAL1": 75.0 + 0.1 * k}) for k in range(n)],
            "obs_lon": [123.35] * n, "obs_lat": [-75.1] * n, "obs_elev": [3233.0] * n,
            "filter": ["R"] * n, "visit": list(range(n)),
        }
    )  # fmt: skip


@pytest.mark.parametrize(("suffix", "pack"), [("ecsv", True), ("ecsv", False), ("fits", True)])
def test_image_collection_returns_every_column(tmp_path, suffix, pack):
    images, path = collection(), tmp_path / f"images.{suffix}"
    write_image_collection(path, images, pack=pack)
    back = read_image_collection(path)
    pd.testing.assert_frame_equal(back[list(images)], images, check_dtype=False)
    assert {"std_name", "std_idx", "ext_idx", "config"} <= set(back)
    assert back["ext_idx"].tolist() == [0, 1, 2]


def test_image_collection_packs_constant_columns_into_its_meta(tmp_path):
    from astropy.table import Table

    write_image_collection(tmp_path / "a.ecsv", collection())
    table = Table.read(tmp_path / "a.ecsv")
    assert table.meta["is_packed"] is True
    assert {"dec", "obs_lon", "filter", "std_name"} <= set(table.meta["shared_cols"])
    assert table.meta["obs_lat"] == -75.1
    assert "obs_lat" not in table.colnames
    write_image_collection(tmp_path / "a.fits", collection())
    assert fits.getheader(tmp_path / "a.fits", "IMGCOLL")["N_STDS"] == 1


@pytest.mark.parametrize("fault", [{"wcs": "no json"}, {"wcs": "{}"}, {"drop": "obs_elev"}])
def test_image_collection_without_what_kbmod_needs_is_refused(tmp_path, fault):
    images = collection()
    images = images.drop(columns=fault["drop"]) if "drop" in fault else images.assign(**fault)
    with pytest.raises(DataError, match=r"wcs|WCS|obs_elev"):
        write_image_collection(tmp_path / "a.ecsv", images)


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("mjd_mid", 2458348.5, "these are Julian dates"),
        ("ra", -999.0, "none of which can be"),
        ("dec", 99.0, "none of which can be"),
    ],
)
def test_image_collection_with_what_cannot_be_is_refused(tmp_path, column, value, said):
    images = collection().assign(**{column: value})
    with pytest.raises(DataError, match=said):
        write_image_collection(tmp_path / "a.ecsv", images)
    one = collection()
    one.loc[1, column] = value
    with pytest.raises(DataError, match=f"row 1: {column}"):
        write_image_collection(tmp_path / "a.ecsv", one)


@pytest.mark.parametrize("suffix", ["ecsv", "parquet", "hdf5"])
@pytest.mark.parametrize("n", [2, 0])
def test_results_return_exactly(tmp_path, suffix, n):
    given, path = results(n), tmp_path / f"found.{suffix}"
    write_results(path, given, config={"lh_level": 7.0, "sigmaG_lims": [25, 75]})
    back = read_results(path)
    assert set(back.columns) == set(given.columns)
    assert len(back) == n
    for name, values in given.columns.items():
        assert back.columns[name].shape == values.shape
        if n:
            np.testing.assert_array_equal(back.columns[name], values)
            assert back.columns[name].dtype.kind == values.dtype.kind
    assert dict(back.meta) == dict(given.meta)
    text = (tmp_path / "found_provenance" / "found_config.yaml").read_text()
    assert YAML(typ="safe", pure=True).load(text) == {"lh_level": 7.0, "sigmaG_lims": [25, 75]}


def test_results_of_movers_have_curves_and_coadds():
    unit = made(n=4)
    frames = unit.frames()
    path = Refined(9.7, 8.2, 10.0, -5.0, 9.0, 30.0, 3.0, 0.0, np.eye(2), np.eye(2), np.ones(4, bool))
    kept = np.array([True, True, False, True])
    mover = Mover(path, 8.5, 3, np.arange(4, dtype="f4"), np.ones(4, "f4"), kept)
    table = results_of([mover], frames, coadds=("sum", "median"), radius=3, wcs=CARDS)
    assert (table.columns["x"][0], table.columns["y"][0], table.columns["obs_count"][0]) == (10, 8, 3)
    np.testing.assert_array_equal(table.columns["obs_valid"][0], kept)
    np.testing.assert_array_equal(table.columns["psi_curve"][0], np.arange(4))
    assert table.columns["coadd_median"].shape == (1, 7, 7)
    assert table.meta["dims"] == [32, 24]
    assert json.loads(table.meta["wcs"])["NAXIS1"] == 32
    assert len(results_of([], frames)) == 0


def test_results_without_a_trajectory_are_refused():
    with pytest.raises(DataError, match="vx"):
        KbmodResults({"x": np.zeros(1)})


def test_images_become_a_workunit_in_order_of_time_and_return(tmp_path):
    unit = made()
    images = [replace(image, header={**image.header, "OBJECT": "x"}) for image in images_of(unit)]
    back = workunit_of(
        images[::-1],
        unit.mjd[::-1],
        observer=unit.observer,
        meta={"visit": [2, 1, 0]},
        config={"lh_level": 6.0},
    )
    np.testing.assert_array_equal(back.mjd, unit.mjd)
    np.testing.assert_array_equal(back.science, np.where(unit.mask != 0, np.nan, unit.science))
    assert back.wcs == (CARDS,) * 3
    assert back.meta == {"visit": [0, 1, 2]}
    assert back.config["lh_level"] == 6.0
    assert psf_sigma(back.psf[0]) == pytest.approx(psf_sigma(unit.psf[0]), rel=0.03)
    write_workunit(tmp_path / "a.fits", back)
    literal_read([tmp_path / "a.fits"])
    with pytest.raises(DataError, match="variance"):
        workunit_of([replace(images[0], variance=None)], [1.0], observer=unit.observer)


@pytest.mark.real
def test_golden_workunit_is_searched_by_our_analysis():
    unit = read_workunit(real_data("ccd", "kbmod_golden", "workunit.fits"))
    analysis = MovingObjects(stack={"rate": [0.0, 10.0], "min_epochs": 6, "level": 7.0})
    handles = [as_handle(image, role="difference") for image in images_of(unit)]
    result = analysis.find(handles, Aux(Target("golden")), analysis.settings)
    assert result.properties["n_images"] == 12
    assert result.properties["n_false_inverted"] == 0
    # KBMOD's own filters and clusters make 64 rows of the three movers in this stack
    assert result.properties["n_movers"] == 3
    assert [round(score) for score in result.properties["likelihoods"]] == [26, 23, 16]
