import io

import numpy as np
import pytest
from astropy.io import fits
from support.harps import STAR, WAVE, adp, header, reduced, spectrum
from support.real import real_data

from virtualobserver.conventions import SPECTRUM_MASK_COSMIC, SPECTRUM_MASK_EXPOSURE, SPECTRUM_MASK_SPIKE
from virtualobserver.data.product import Raw, RawRef, Target
from virtualobserver.errors import InvalidFile
from virtualobserver.exports.harps_dataset import published_window
from virtualobserver.maths.spectra import flags
from virtualobserver.maths.spectra import lines as spectra
from virtualobserver.observatories.harps import VirtualHARPS
from virtualobserver.observatories.harps.adp import adp_bytes, cut_windows
from virtualobserver.observatories.harps.reader import read_exposure
from virtualobserver.observatory import Aux

AIR = ("em.wl;obs.atmos", "phot.flux.density;em.wl;src.net", "stat.error;phot.flux.density;em.wl;src.net")


def epochs(products, name="K"):
    return next(p.data.epochs for p in products if p.series == name)


# ------------------------------------------------------------------------------------------ reading
def test_columns_are_found_by_utype_whatever_they_are_called_and_wherever_they_stand():
    content = adp()
    with fits.open(io.BytesIO(content)) as units:
        table, primary = units[1], units[0]
        cells = {n: np.asarray(table.data[n][0]) for n in ("ERR", "FLUX", "WAVE")}
        new = {"A": cells["ERR"], "B": cells["FLUX"] * 0 + 7, "C": cells["FLUX"], "D": cells["WAVE"]}
        columns = [
            fits.Column(n, f"{v.size}{'D' if n == 'D' else 'E'}", array=v[None]) for n, v in new.items()
        ]
        other = fits.BinTableHDU.from_columns(columns)
        utypes = ("Accuracy.StatError", "", "Value", "")
        for n, utype in enumerate(utypes, 1):
            if utype:
                other.header[f"TUTYP{n}"] = f"Spectrum.Data.FluxAxis.{utype}"
        other.header["TUTYP2"] = "eso:Data.FluxAxis.Value"
        other.header["TUTYP4"] = "Spectrum.Data.SpectralAxis.Value"
        other.header["TUCD4"], other.header["TUNIT4"] = "em.wl;obs.atmos", "angstrom"
        stream = io.BytesIO()
        fits.HDUList([fits.PrimaryHDU(header=primary.header), other]).writeto(stream)
    found, plain = read_exposure(stream.getvalue(), "mixed"), read_exposure(content, "plain")
    np.testing.assert_array_equal(found.flux, plain.flux)
    np.testing.assert_array_equal(found.wave, plain.wave)


def test_nanometres_vacuum_and_topocentric_wavelengths_arrive_as_air_and_barycentric():
    berv = 25.0
    want = read_exposure(adp(), "plain")
    vacuum = spectra.shift(spectra.air_to_vacuum(WAVE), -berv) / 10
    ucds = ("em.wl", *AIR[1:])
    content = adp_bytes(
        vacuum, spectrum(), header(SPECSYS="TOPOCENT", **{"ESO DRS BERV": berv}), ucds=ucds, unit="nm"
    )
    got = read_exposure(content, "converted")
    np.testing.assert_allclose(got.wave, want.wave, rtol=0, atol=2e-6)
    assert (got.medium, got.frame) == ("vacuum", "topocent")
    assert got.quality & flags.QUALITY_CONVERTED
    assert "25.000 km/s" in "; ".join(got.reasons)


def test_what_the_file_does_not_say_is_assumed_and_told():
    got = read_exposure(
        adp_bytes(WAVE / 10, spectrum(), header(SPECSYS=None), unit="", ucds=("", "", "")), "x"
    )
    assert got.wave[0] == pytest.approx(3910.0)
    assert got.quality & flags.QUALITY_ASSUMED
    told = "; ".join(got.reasons)
    for word in ("nm assumed", "air assumed", "SPECSYS"):
        assert word in told


def test_correction_of_iraf_is_undone():
    image = fits.PrimaryHDU(np.ones(5000, dtype="f4"))
    factor = 1 + 7.0 / 299792.458
    image.header.update(
        {"CRVAL1": 3910.0 * factor, "CDELT1": 0.01 * factor, "CRPIX1": 1, "DOPCOR01": "-7.0 all"}
    )
    image.header.update({k: v for k, v in header(SPECSYS=None).items() if not k.startswith("ESO")})
    stream = io.BytesIO()
    image.writeto(stream)
    got = read_exposure(stream.getvalue(), "iraf")
    assert got.wave[0] == pytest.approx(3910.0, abs=1e-5)
    assert got.facts.rv == pytest.approx(-7.0)


@pytest.mark.parametrize("way", ["empty", "page", "header", "data", "axis", "table", "huge"])
def test_fault_14_damaged_spectra_are_refused_with_name_and_reason(way):
    good = adp()
    content = {
        "empty": b"",
        "page": b"<html>maintenance</html>",
        "header": good[:1000],
        "data": good[:-20000],
        "axis": good.replace(b"NAXIS   =                    2", b"NAXIS   =                  999"),
        "table": adp().replace(b"'WAVE    '", b"'OTHER   '").replace(b"SpectralAxis", b"NoxxxxxlAxis")
        .replace(b"em.wl;obs.atmos", b"xx.yy;obs.atmos"),
        "huge": good.replace(b"NAXIS1  =               128016", b"NAXIS1  =          10000128016"),
    }[way]  # fmt: skip
    assert content != good
    with pytest.raises(InvalidFile, match=r"ADP\.bad"):
        read_exposure(content, "ADP.bad")


def test_fault_14_one_unreadable_file_does_not_cost_the_star(tmp_path):
    files = {f"e{n}": adp(n) for n in range(6)} | {"cut": adp(9)[:40000]}
    product = reduced(files)[0]
    rows = product.data.epochs
    bad = (rows["quality"] & flags.QUALITY_UNREADABLE) != 0
    assert rows["archive_id"][bad].tolist() == ["cut"]
    assert "fetch it again" in rows["reason"][bad][0]
    assert np.isnan(product.data.flux[bad]).all()
    assert product.statistics["n_good"] == 6


@pytest.mark.parametrize(
    ("more", "words"),
    [({"EXPTIME": None}, "EXPTIME"), ({"EXPTIME": "thirty"}, "thirty"),
     ({"MJD-OBS": None, "DATE-OBS": "2003-13-45"}, "2003-13-45"),
     ({"RA": None, "DEC": None}, "RA and DEC"), ({"OBJECT": None}, "OBJECT"), ({"INSTRUME": None}, "INSTRUME")],
)  # fmt: skip
def test_fault_15_a_missing_or_impossible_keyword_is_named_and_spoils_nothing_else(more, words):
    product = reduced({"a": adp(0, **more), "b": adp(1)})[0]
    rows = product.data.epochs
    row = rows["archive_id"].tolist().index("a")
    assert rows["quality"][row] & flags.QUALITY_KEYWORD
    assert words in rows["reason"][row]
    assert rows["snr"][row] > 20
    assert rows["quality"][1 - row] == 0


# ------------------------------------------------------------------------------------------- products
def test_products_keep_the_contract():
    products = reduced({f"e{n}": adp(n) for n in range(6)})
    assert [(p.series, p.band, p.role, p.container_kind) for p in products] == [
        ("K", "K", "reduced", "spectrum"), ("H", "H", "reduced", "spectrum"),
    ]  # fmt: skip
    k, h = (p.data for p in products)
    assert (k.wave.size, k.wave[2000], h.wave[2000]) == (4001, 3933.66, 3968.47)
    assert (k.wave_unit, k.medium, k.frame) == ("Angstrom", "air", "barycentric")
    assert k.meta["line"] == "CaII K"
    assert k.meta["rest"] == 3933.661
    assert k.meta["v_star"] == 20.0
    for name in ("mjd", "night", "era", "exptime", "berv", "rv", "archive_id"):
        assert np.array_equal(k.epochs[name], h.epochs[name])
    want = {"mjd", "night", "era", "exptime", "snr", "berv", "rv", "quality", "reason", "c0", "c1", "c2"}
    assert want <= set(k.epochs)
    assert np.all(np.diff(k.mjd) > 0)
    np.testing.assert_allclose(k.epochs["snr"], 100, rtol=0.25)
    assert (k.mask == 0).all()
    v = spectra.velocity(k.wave, k.meta["rest"])
    side = (np.abs(v - 20) > 250) & (np.abs(v - 20) < 650)
    for row in range(6):
        c = [k.epochs[f"c{i}"][row] for i in range(3)]
        normal = k.flux[row] / np.polynomial.polynomial.polyval(v / 1000, c)
        assert np.median(normal[side]) == pytest.approx(1.0, abs=0.01)
        pull = (k.flux[row] - k.flux.mean(axis=0)) / k.error[row]
        assert np.std(pull) == pytest.approx(np.sqrt(5 / 6), rel=0.2)


def test_pixels_of_the_file_arrive_untouched_and_give_the_published_window():
    content = adp(3)
    with fits.open(io.BytesIO(content)) as units:
        wave, flux = units[1].data["WAVE"][0], units[1].data["FLUX"][0]
    for line, rest in (("K", 3933.66), ("H", 3968.47)):
        data = next(p.data for p in reduced({"a": content}) if p.series == line)
        at = np.flatnonzero(np.round(wave, 2) == rest)[0]
        cut_wave, cut_flux = published_window(data, line)
        assert np.array_equal(cut_flux[0], flux[at - 1000 : at + 1000])
        np.testing.assert_allclose(cut_wave, wave[at - 1000 : at + 1000], rtol=0, atol=1e-9)


def test_errors_do_not_depend_on_the_unit_of_flux():
    first, second = (reduced({f"e{n}": adp(n, s * spectrum(n)) for n in range(6)})[0].data for s in (1, 1e-3))
    np.testing.assert_allclose(first.error, 1000 * second.error, rtol=1e-3)
    np.testing.assert_allclose(first.epochs["snr"], second.epochs["snr"], rtol=1e-3)


def test_damaged_exposures_are_named_one_by_one_and_the_others_stay():
    files = {f"e{n}": adp(n) for n in range(8)}
    nan, spiked = spectrum(11), spectrum(13)
    nan[2000] = np.nan
    spiked[2100:2110] = -1.6e21
    files |= {
        "dead": adp(10, np.zeros(WAVE.size)), "nan": adp(11, nan), "absurd": adp(12, 1e21 * spectrum(12)),
        "spiked": adp(13, spiked), "twin": files["e3"],
    }  # fmt: skip
    product = reduced(files)[0]
    rows = product.data.epochs
    bits = dict(zip(rows["archive_id"].tolist(), rows["quality"].tolist(), strict=True))
    why = dict(zip(rows["archive_id"].tolist(), rows["reason"].tolist(), strict=True))
    assert {name: bits[name] for name in ("dead", "nan", "absurd", "spiked")} == {
        "dead": flags.QUALITY_DEAD, "nan": flags.QUALITY_NOT_FINITE,
        "absurd": flags.QUALITY_DEAD | flags.QUALITY_SPIKES, "spiked": flags.QUALITY_SPIKES,
    }  # fmt: skip
    assert bits["twin"] | bits["e3"] == flags.QUALITY_DUPLICATE
    assert "10 pixels" in why["spiked"]
    assert all(bits[f"e{n}"] == 0 for n in range(8) if n != 3)
    mask = product.data.mask[rows["archive_id"].tolist().index("dead")]
    assert (mask & SPECTRUM_MASK_EXPOSURE != 0).all()
    good = product.data.mask == 0
    assert np.isfinite(product.data.flux[good]).all()
    assert np.isfinite(product.data.error[good]).all()


def test_changed_bytes_are_found_by_the_checksum_and_kept_out():
    content = bytearray(adp(1))
    content[-60000] ^= 4
    rows = epochs(reduced({"good": adp(0), "flipped": bytes(content)}))
    assert rows["quality"].tolist() == [0, flags.QUALITY_CHECKSUM]
    assert "CHECKSUM" in rows["reason"][1]


def test_lamp_in_the_other_fibre_and_calibrations_are_told():
    files = {
        "a": adp(0, **{"ESO DPR TYPE": "STAR,WAVE,A5"}),
        "b": adp(1, **{"ESO DPR TYPE": "WAVE,WAVE,THAR2"}),
    }
    assert epochs(reduced(files))["quality"].tolist() == [flags.QUALITY_FIBRE_B, flags.QUALITY_NOT_TARGET]


def test_cosmic_ray_of_one_exposure_is_masked_and_a_comet_is_not():
    files = {f"e{n}": spectrum(n) for n in range(8)}
    at = np.flatnonzero(WAVE == 3935.0)[0]
    files["e2"][at : at + 2] += 300
    dip = 1 - 0.3 * np.exp(-0.5 * ((299792.458 * (WAVE / 3933.661 - 1) - 60) / 5) ** 2)
    files["e5"] *= dip
    data = reduced({k: adp(int(k[1]), v) for k, v in files.items()})[0].data
    hit = np.argwhere(data.mask & SPECTRUM_MASK_COSMIC != 0)
    assert hit.tolist() == [[2, 2134], [2, 2135]]


def test_states_and_nights_stand_in_the_rows():
    files = {"a": adp(0), "b": adp(1500), "c": adp(1, **{"ESO INS MODE": "EGGS"})}
    rows = epochs(reduced(files))
    assert rows["era"].tolist() == [0, 10, 1]
    assert rows["night"].tolist() == [55999, 56000, 57499]


def test_any_list_of_lines_and_any_width_can_be_asked_for():
    products = reduced(
        {"a": adp()}, lines={"H": 3968.467, "Fe": 3930.297}, half_width=300.0, half_width_unit="km/s"
    )
    assert [p.series for p in products] == ["H", "Fe"]
    assert abs(spectra.velocity(products[1].data.wave[-1], 3930.297) - 300) < 1


def test_star_velocity_of_setting_catalogue_pipeline_and_header():
    def of(target=STAR, options=None, **more):
        survey = VirtualHARPS(**(options or {}))
        raws = [RawRef.of(Raw("a", "fits", content=adp(0, **more)))]
        return survey.reduce(raws, Aux(target), survey.settings)[0].data.meta["v_star_source"]

    rv = Target("star", ra=1.0, dec=2.0, extra={"radial_velocity": 5.0})
    none = {"ESO DRS CCF RVC": -99999.0}
    assert of() == "pipeline"
    assert of(rv) == "catalogue"
    assert of(options={"radial_velocity": 1.0}) == "setting"
    assert of(**none) == "none"
    assert of(**none, **{"ESO TEL TARG RADVEL": 7.0}) == "header"


def test_windows_of_a_file_reduce_to_the_same_product():
    content = adp(4)
    part = cut_windows(content, "x", [(3913.66, 3953.66)])
    assert len(part) < 0.8 * len(content)
    (whole,), (cut,) = (reduced({"a": each}, lines={"K": 3933.661}) for each in (content, part))
    assert np.array_equal(whole.data.flux, cut.data.flux)
    assert (cut.data.mask == 0).all()
    assert whole.data.epochs["quality"].tolist() == cut.data.epochs["quality"].tolist() == [0]
    with fits.open(io.BytesIO(part)) as units:
        assert units[0].header["P3STORE"] == "windows"
        assert units[0].header["ESO DRS BERV"] == 3.0


# ----------------------------------------------------------------------------------------- real files
@pytest.mark.real
def test_all_real_files_are_read_and_the_faint_star_is_faint():
    found = {}
    for path in sorted(real_data("harps", "harps_s1d").glob("*.fits")):
        products = reduced({path.name: path.read_bytes()})
        found[path.name[:12]] = {p.series: p.data for p in products}
        assert [p.statistics["n_good"] for p in products] == [1, 1]
    assert set(found) == {"38Vir_HARPS_", "HARPS.2003-1", "HARPS.2010-0"}
    # Gl 273: S/N 1.3, as the pipeline has it (1.3 and 1.6 in the orders of K); √flux would say 14
    assert found["HARPS.2003-1"]["K"].epochs["snr"][0] == pytest.approx(1.3, abs=0.2)
    assert found["HARPS.2003-1"]["K"].meta["v_star"] == 17.9
    assert found["HARPS.2010-0"]["K"].epochs["snr"][0] == pytest.approx(1.3, abs=0.2)
    vir = found["38Vir_HARPS_"]["K"]
    assert (
        vir.epochs["quality"][0] == flags.QUALITY_DATASUM | flags.QUALITY_RESAMPLED | flags.QUALITY_CONVERTED
    )
    assert vir.meta["v_star"] == pytest.approx(-7.046, abs=1e-3)
    # the sodium lines stand where the Doppler correction that was undone had found them
    path = real_data("harps", "harps_s1d", "38Vir_HARPS_2017.fits")
    whole = read_exposure(path.read_bytes(), path.name, [(5880, 5900)])
    for rest in (5889.951, 5895.924):
        v = spectra.velocity(whole.wave, rest)
        near = np.abs(v) < 60
        depth = np.clip(np.percentile(whole.flux[near], 90) - whole.flux[near], 0, None)
        depth[depth < 0.5 * depth.max()] = 0
        assert np.average(v[near], weights=depth) == pytest.approx(-7.0, abs=1.0)


@pytest.mark.real
def test_broken_pixels_of_the_real_file_are_masked_where_they_are():
    path = real_data("harps", "harps_s1d", "HARPS.2003-12-13T06_19_48.371_s1d_A.fits")
    whole = read_exposure(path.read_bytes(), path.name)
    assert 60_000 < (whole.mask & SPECTRUM_MASK_SPIKE != 0).sum() < 66_000
    data = reduced({"a": path.read_bytes()}, lines={"x": 4525.0})[0].data
    assert data.epochs["quality"][0] & flags.QUALITY_SPIKES


@pytest.mark.real
def test_uves_night_of_ab_dor_is_resampled_into_the_right_frame_and_flags_as_published():
    paths = sorted(real_data("harps", "abdor_uves_adp").glob("*.fits"))
    k = reduced({p.name: p.read_bytes() for p in paths})[0].data
    assert len(k) == 14
    assert set(k.epochs["era"].tolist()) == {20}
    assert set(k.epochs["night"].tolist()) == {55160}
    assert set(k.epochs["frame"].tolist()) == {"topocent"}
    assert k.epochs["berv"].min() == pytest.approx(-1.471, abs=0.02)
    assert k.epochs["berv"].max() == pytest.approx(-1.185, abs=0.02)
    assert ((k.epochs["quality"] & flags.QUALITY_BAD) == 0).all()
    # the published statistic, on the published window
    wave, flux = published_window(k, "K")
    v = 3e5 * (wave - 3933.66) / 3933.66
    outer = np.abs(v) > 200
    from scipy.ndimage import median_filter

    s = median_filter(flux / flux[:, outer].mean(axis=1, keepdims=True), size=(1, 3), mode="nearest")
    residual = s - np.median(s, axis=0)
    q = residual / np.hypot(residual.std(axis=1, keepdims=True), s.std(axis=0))
    low = (q / q.std(axis=1, keepdims=True))[:, np.abs(v) < 200].min(axis=1)
    assert np.flatnonzero(low < -4).tolist() == [7, 8, 9]
    np.testing.assert_allclose(low[7:10], [-6.2, -5.5, -5.2], atol=0.15)


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")])
def test_of_several_reductions_of_an_exposure_the_newest_stays(names):
    old, new = names
    files = {f"x{n}": adp(n) for n in range(3)}
    files |= {old: adp(3, DATE="2014-09-16T11:05:00"), new: adp(3, DATE="2024-02-01")}
    for one in reduced(files):
        rows = one.data.epochs
        quality = dict(zip(rows["archive_id"], rows["quality"], strict=True))
        assert [name for name, bits in quality.items() if bits & flags.QUALITY_DUPLICATE] == [old]
        assert (
            f"the same exposure as {new}" in dict(zip(rows["archive_id"], rows["reason"], strict=True))[old]
        )
        masked = dict(zip(rows["archive_id"], (one.data.mask != 0).all(axis=1), strict=True))
        assert masked[old]
        assert not masked[new]


def test_a_reduction_without_a_date_is_as_old_as_its_name_in_the_archive():
    names = ["ADP.2014-09-16T11:05:00.000", "ADP.2020-01-01T00:00:00.000"]
    files = {f"x{n}": adp(n) for n in range(3)} | {name: adp(3) for name in names}
    rows = reduced(files)[0].data.epochs
    doubled = rows["quality"] & flags.QUALITY_DUPLICATE != 0
    assert [name for name, bad in zip(rows["archive_id"], doubled, strict=True) if bad] == names[:1]


def test_spectra_of_harps_n_are_an_instrument_of_their_own():
    files = {f"HARPS.{n}": adp(n) for n in range(4)} | {
        f"HARPN.{n}": adp(n, INSTRUME="HARPN") for n in range(4)
    }
    rows = reduced(files)[0].data.epochs
    assert not (rows["quality"] & flags.QUALITY_BAD).any()
    assert {
        bool(era >= 20) for era, name in zip(rows["era"], rows["archive_id"], strict=True) if "HARPN" in name
    } == {True}


# --- exposures that do not belong ---------------------------------------------------------------------------


def bits_of(contents, **options):
    k, h = (one.data for one in reduced(contents, **options))
    names = k.epochs["archive_id"].tolist()
    both = [dict(zip(names, data.epochs["quality"].tolist(), strict=True)) for data in (k, h)]
    assert (k.mask[[names.index(n) for n in names if both[0][n] & flags.QUALITY_BAD]] != 0).all()
    return both, dict(zip(names, k.epochs["reason"].tolist(), strict=True))


def cool(n):
    """Return a star with many lines."""
    rng = np.random.default_rng(99)
    flux = spectrum(n)
    for centre, depth in zip(rng.uniform(3910, 3990, 300), rng.uniform(0.1, 0.7, 300), strict=True):
        flux *= 1 - depth * np.exp(-0.5 * ((WAVE - centre) / 0.06) ** 2)
    return flux


def test_an_exposure_of_another_star_is_named_by_position_name_or_spectrum():
    contents = {f"ADP.{n}": adp(n, OBJECT="HD39060") for n in range(6)}
    contents["far"] = adp(10, DEC=-51.0665 + 90 / 3600)
    contents["named"] = adp(11, OBJECT="HD 172555")
    contents["nickname"] = adp(12, OBJECT="bet Pic")
    contents["unlike"] = adp(13, cool(13))
    both, reasons = bits_of(contents)
    for bits in both:
        foreign = {name for name, value in bits.items() if value & flags.QUALITY_FOREIGN}
        assert foreign == {"far", "named", "unlike"}
    assert "90 arcsec from the star" in reasons["far"]
    assert "OBJECT is HD 172555, the star is HD 39060" in reasons["named"]
    assert "not that of the star" in reasons["unlike"]


@pytest.mark.parametrize("times", [2, 0])
def test_an_exposure_shifted_by_the_earth_twice_or_not_at_all_is_named(times):
    contents = {f"ADP.{n}": adp(n, **{"ESO DRS BERV": 20.0 - n}) for n in range(8)}
    moved = WAVE * (1 + (times - 1) * 17.0 / 299792.458)
    contents["ADP.3"] = adp(3, np.interp(WAVE, moved, spectrum(3)), **{"ESO DRS BERV": 17.0})
    both, reasons = bits_of(contents)
    for bits in both:
        assert {name for name, value in bits.items() if value & flags.QUALITY_SHIFTED} == {"ADP.3"}
    assert "the correction for the Earth is +17.0" in reasons["ADP.3"]


def test_a_star_that_moves_by_itself_keeps_all_its_exposures():
    contents = {}
    for n in range(10):
        v = 20.0 * np.sin(n)
        contents[f"ADP.{n}"] = adp(
            n, np.interp(WAVE, WAVE * (1 + v / 299792.458), spectrum(n)), **{"ESO DRS BERV": 20.0 * np.sin(3)}
        )
    both, _ = bits_of(contents)
    assert not any(value & flags.QUALITY_BAD for bits in both for value in bits.values())


def test_a_saturated_exposure_is_named_and_left_out():
    contents = {f"ADP.{n}": adp(n) for n in range(6)}
    contents["ADP.2"] = adp(2, np.minimum(spectrum(2), 995.0))
    both, reasons = bits_of(contents)
    for bits in both:
        assert {name for name, value in bits.items() if value & flags.QUALITY_SATURATED} == {"ADP.2"}
    assert "highest value" in reasons["ADP.2"]
