"""Folders of spectra that people have: which files belong to whom, packed ones, those of the pipeline."""

import gzip
import io

import numpy as np
import pytest
from astropy.io import fits
from support.harps import STAR, WAVE, Client, adp, header, reduced, spectrum
from support.real import real_data

from virtualobserver.data.product import Raw, RawRef, Target
from virtualobserver.errors import (
    InvalidFile,
)
from virtualobserver.io import gzipped
from virtualobserver.maths.spectra import flags
from virtualobserver.observatories.harps import VirtualHARPS, index
from virtualobserver.observatories.harps.folder import FolderArchive
from virtualobserver.observatory import Aux


def write(folder, name, content):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)


def fetched(folder, *targets, **options):
    survey = VirtualHARPS(**options)
    return list(survey.fetch(targets, Client(folder)))


def test_folder_files_belong_to_targets_by_position_not_by_name(tmp_path):
    write(tmp_path / "a", "ADP.1.fits", adp(0, OBJECT="HD 39060"))
    write(tmp_path / "b", "ADP.2.fits", adp(1, OBJECT="beta-Pic"))
    write(tmp_path, "ADP.3.fits", adp(2, OBJECT="star", RA=90.0))
    landed = fetched(tmp_path, STAR, Target("none", ra=200.0, dec=10.0))
    assert "within radius" in landed.pop()[1].reason
    assert [raw.archive_id for _, raw in landed] == ["ADP.1", "ADP.2"]
    assert all(raw.in_place and raw.path.is_file() for _, raw in landed)
    assert landed[0][1].header["object"] == "HD 39060"


def test_fast_star_is_found_where_it_was(tmp_path):
    write(
        tmp_path, "a.fits", adp(0, **{"MJD-OBS": 52986.0, "MJD-END": None, "DEC": 5.22063, "RA": 111.852458})
    )
    fast = Target("Gl 273", ra=111.852083, dec=5.225778, epoch=2000.0, pmra=571.27, pmdec=-3694.25)
    assert len(fetched(tmp_path, fast, radius=6.0)) == 1
    slow = Target("Gl 273", ra=111.852083, dec=5.225778, epoch=2000.0, pmra=0.0, pmdec=0.0)
    ((_, missing),) = fetched(tmp_path, slow, radius=6.0)
    assert "within radius" in missing.reason


def test_components_of_a_close_pair_are_told_apart_by_name(tmp_path):
    for n, name in enumerate(("alpha Cen A", "alpha Cen B", "alpha-Cen-A")):
        write(tmp_path, f"{n}.fits", adp(n, OBJECT=name))
    a = Target("alp Cen A", ra=STAR.ra, dec=STAR.dec, epoch=2016.0, aliases=("alpha Cen A",))
    assert [raw.archive_id for _, raw in fetched(tmp_path, a)] == ["0", "2"]


def test_fault_14_files_without_a_header_are_left_out_or_told_where_their_folder_is_the_star(tmp_path):
    write(tmp_path, "ADP.1.fits", adp(0))
    write(tmp_path, "ADP.2.fits", b"<html>")
    write(tmp_path / "star", "ADP.3.fits", b"")
    archive = FolderArchive([tmp_path])
    assert [entry.path.name for entry in archive.unreadable] == ["ADP.2.fits", "ADP.3.fits"]
    landed = fetched(tmp_path, STAR)
    assert [raw.archive_id for _, raw in landed] == ["ADP.1", "ADP.3"]
    survey = VirtualHARPS()
    aux = Aux(STAR)
    rows = survey.reduce([RawRef.of(r) for _, r in landed], aux, survey.settings)[0].data.epochs
    assert rows["quality"].tolist() == [0, flags.QUALITY_UNREADABLE]
    assert aux.notes == {"spectra left out: file cannot be read": 1}
    assert "empty, 0 bytes" in rows["reason"][1]


def test_missing_folder_is_an_error_that_names_it(tmp_path):
    with pytest.raises(InvalidFile, match="nowhere"):
        FolderArchive([tmp_path / "nowhere"])


def test_target_list_is_made_from_headers_by_position(tmp_path):
    spellings = ("HD39060", "beta-Pic", "HD39060")
    for n, name in enumerate(spellings):
        write(tmp_path, f"a{n}.fits", adp(n, OBJECT=name, RA=86.8212 + 1e-4 * n))
    write(tmp_path, "b.fits", adp(5, OBJECT="HD39060", RA=10.0))
    write(tmp_path, "c.fits", adp(6, OBJECT="Ceres", RA=20.0))
    write(tmp_path, "d.fits", adp(7, RA=30.0, **{"ESO DPR TYPE": "WAVE,WAVE,THAR2"}))
    rows = VirtualHARPS().catalogue(Client(tmp_path))
    assert [(r["name"], r["n_spectra"], r["aliases"]) for r in rows] == [
        ("HD39060", 3, "HD39060; beta-Pic"), ("HD39060'", 1, "HD39060"),
    ]  # fmt: skip
    assert rows[0]["ra"] == pytest.approx(86.8213, abs=1e-4)


def test_star_of_the_reference_catalogue_lands_with_the_spectra(tmp_path):
    import pandas as pd

    write(tmp_path, "a.fits", adp(0))
    frame = pd.DataFrame(
        {"source_id": [4792774797545800832, 5], "ra": [86.8212, 86.8216], "dec": [-51.0665, -51.0665],
         "phot_g_mean_mag": [3.8, 15.0], "bp_rp": [0.24, 1.0], "g_rp": [0.12, 0.5], "parallax": [50.9, 1.0],
         "radial_velocity": [19.8, np.nan]}
    )  # fmt: skip
    frame.to_parquet(tmp_path / "gaia.parquet")
    landed = fetched(tmp_path, STAR, reference=str(tmp_path / "gaia.parquet"))
    assert [raw.format for _, raw in landed] == ["fits", "csv"]
    survey = VirtualHARPS()
    meta = survey.reduce([RawRef.of(r) for _, r in landed], Aux(STAR), survey.settings)[0].data.meta
    gaia = meta["gaia"]
    assert gaia["source_id"] == "4792774797545800832"
    assert gaia["absolute_mag"] == pytest.approx(3.8 + 5 * np.log10(50.9) - 10)
    assert gaia["match_probability"] > 0.9
    assert gaia["pmra"] is None


def test_files_packed_by_gzip_are_read_like_others(tmp_path):
    write(tmp_path, "a.fits.gz", gzip.compress(adp(0)))
    write(tmp_path, "b.fits", adp(1))
    landed = fetched(tmp_path, STAR)
    assert [raw.archive_id for _, raw in landed] == ["a", "b"]
    assert landed[0][1].header["object"] == "star"
    survey = VirtualHARPS()
    data = survey.reduce([RawRef.of(raw) for _, raw in landed], Aux(STAR), survey.settings)[0].data
    plain = reduced({"a": adp(0), "b": adp(1)})[0].data
    np.testing.assert_array_equal(data.flux, plain.flux)
    assert data.epochs["quality"].tolist() == [0, 0]


def s1d_header(**more):
    known = {"CRVAL1": 3910.0, "CDELT1": 0.01, "CRPIX1": 1.0, "BUNIT": "Relative Flux"}
    return fits.Header(
        {**{f"HIERARCH {k}" if " " in k else k: v for k, v in header(0).items()}, **known, **more}
    )


def fpacked(**options):
    stream = io.BytesIO()
    image = fits.CompImageHDU(
        spectrum(0).astype(np.float32), s1d_header(), compression_type="GZIP_2", quantize_level=0, **options
    )
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(stream, checksum=True)
    return stream.getvalue()


def test_images_packed_by_fpack_are_read_like_others(tmp_path):
    write(tmp_path, "HARPS.1_s1d_A.fits.fz", fpacked())
    landed = fetched(tmp_path, STAR)
    assert [(raw.archive_id, raw.header["object"]) for _, raw in landed] == [("HARPS.1_s1d_A", "star")]
    data = reduced([raw for _, raw in landed])[0].data
    expected = np.interp(data.wave, WAVE, spectrum(0)).astype(np.float32)
    np.testing.assert_allclose(data.flux[0], expected, rtol=1e-6)
    assert data.epochs["quality"].tolist() == [0]


def test_table_packed_by_fpack_is_refused_with_the_way_out():
    with fits.open(io.BytesIO(adp(0))) as units:
        units[1].header["ZTABLE"] = True
        stream = io.BytesIO()
        units.writeto(stream, checksum=True)
    rows = reduced({"x": stream.getvalue()})[0].data.epochs
    assert rows["quality"][0] == flags.QUALITY_UNREADABLE
    assert "funpack" in rows["reason"][0]


def test_fault_13_wrong_checksum_of_a_packed_image_is_told():
    content = bytearray(fpacked())
    content[-3000] ^= 4
    quality = reduced({"x": bytes(content)})[0].data.epochs["quality"][0]
    assert quality & (flags.QUALITY_CHECKSUM | flags.QUALITY_UNREADABLE)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (gzip.compress(adp(0), mtime=0)[:-9000], "gzip"),
        (gzip.compress(b"<html>", mtime=0), "web page"),
        (b"\x1f\x8b" + b"x" * 90, "gzip"),
    ],
)
def test_fault_14_damaged_packed_files_are_told(tmp_path, content, reason):
    rows = reduced({"x": content})[0].data.epochs
    assert rows["quality"][0] == flags.QUALITY_UNREADABLE
    assert reason in rows["reason"][0]
    write(tmp_path, "x.fits.gz", content)
    FolderArchive([tmp_path])  # whatever it is, looking at it is no error


def test_fault_14_packed_file_that_would_fill_the_memory_is_refused(monkeypatch):
    monkeypatch.setattr(gzipped, "LARGEST", 100_000)
    rows = reduced({"x": gzip.compress(bytes(10_000_000))})[0].data.epochs
    assert "larger than 100000 bytes" in rows["reason"][0]


def test_packed_file_of_several_members_is_read_whole():
    content = adp(0)
    joined = gzip.compress(content[:40000]) + gzip.compress(content[40000:])
    assert gzipped.plain_bytes(joined, "x") == content


def test_headers_are_kept_between_runs_and_read_again_where_a_file_changed(tmp_path, monkeypatch):
    read = []
    real = index.header_of_file
    monkeypatch.setattr(index, "header_of_file", lambda path: (read.append(path.name), real(path))[1])
    folder, cache = tmp_path / "files", tmp_path / "cache"
    write(folder, "a.fits", adp(0, **{"MJD-END": None, "EXPTIME": None}))
    write(folder, "b.fits", adp(1))
    write(folder, "c.fits", b"no FITS")
    first = FolderArchive([folder], cache)
    write(folder, "b.fits", adp(1, OBJECT="another name"))
    second = FolderArchive([folder], cache)
    assert read == ["a.fits", "b.fits", "c.fits", "b.fits", "c.fits"]
    assert repr(second.facts[0]) == repr(first.facts[0])
    assert [facts.object for facts in second.facts] == ["star", "another name"]
    (kept,) = cache.iterdir()
    kept.write_bytes(b'{"format": 1, "files"')
    assert len(FolderArchive([folder], cache).facts) == 2


def test_folder_of_the_pipeline_gives_its_merged_spectra_only(tmp_path):
    for part in ("s1d_A", "s1d_B", "e2ds_A", "ccf_G2_A", "bis_G2_A", "wave_A"):
        write(tmp_path, f"HARPS.2012-01-01T00:00:00.000_{part}.fits", adp(0))
    assert [raw.archive_id for _, raw in fetched(tmp_path, STAR)] == ["HARPS.2012-01-01T00:00:00.000_s1d_A"]


@pytest.mark.real
def test_folder_of_real_files_gives_targets_and_their_spectra():
    folder = real_data("harps")
    survey = VirtualHARPS()
    rows = survey.catalogue(Client(folder / "harps_s1d", folder / "abdor_uves_adp"))
    assert {r["name"]: r["n_spectra"] for r in rows} == {"AB-Dor": 14, "Gl273": 1, "Gl581": 1, "HD111998": 1}
    targets = [Target(**{k: r[k] for k in ("name", "ra", "dec", "epoch", "pmra", "pmdec")}) for r in rows]
    landed = list(survey.fetch(targets, Client(folder / "harps_s1d", folder / "abdor_uves_adp")))
    assert len(landed) == 17
    assert all(isinstance(thing, Raw) for _, thing in landed)
