import numpy as np
import pytest
from support.real import real_data
from support.ztf import HEADER, OID, Client, csv, reduced, row

from virtualobserver.data.product import Raw, Target
from virtualobserver.errors import BadKeyword
from virtualobserver.observatories.ztf import VirtualZTF
from virtualobserver.observatories.ztf.raw import lightcurve_raw
from virtualobserver.observatories.ztf.reduce import join
from virtualobserver.observatories.ztf.table import parse

STAR = Target("ZTF_lightcurve", ra=359.99975, dec=51.39372)
SIZES = [293, 417, 9, 214, 278, 10, 225, 235, 98, 73]
UNFLAGGED = [277, 401, 9, 210, 274, 10, 221, 229, 97, 73]
TARGET = Target("star", ra=10.0, dec=20.0, mag=18.0)


def real(target=STAR, **options):
    folder = real_data("ztf", "ZTF_lightcurve.csv").parent
    survey = VirtualZTF(**options)
    return reduced(survey, [raw for _, raw in survey.fetch([STAR], Client(folder))], target)


def made(*rows, target=TARGET, **options):
    return reduced(VirtualZTF(**options), [Raw("made", "csv", content=csv(*rows))], target)


@pytest.mark.real
def test_parity_54_real_star_gives_ten_light_curves_in_time_order():
    products = real()
    assert [len(p.data) for p in products] == SIZES
    starts = [p.data["mjd_start"].min() for p in products]
    assert starts == sorted(starts)
    assert len({p.series for p in products}) == 10


@pytest.mark.real
@pytest.mark.parametrize("name", ["drop_flagged", "drop_bad"])
def test_parity_54_dropping_flagged_epochs_drops_exactly_those(name):
    assert [len(p.data) for p in real(**{name: True})] == UNFLAGGED


@pytest.mark.real
def test_parity_54_long_gap_gives_one_light_curve_per_filter():
    assert [(p.band, len(p.data)) for p in real(gap=300.0)] == [("zg", 869), ("zr", 964), ("zi", 19)]


@pytest.mark.real
def test_real_heliocentric_times_agree_with_our_conversion_to_twenty_milliseconds():
    from virtualobserver.maths.times import hjd_utc
    from virtualobserver.observatories.ztf.reduce import PALOMAR

    for product in real(gap=300.0):
        data = product.data
        ours = hjd_utc(data.mjd, STAR.ra, STAR.dec, PALOMAR)
        assert np.abs(ours - data["hjd"]).max() * 86400.0 < 0.02
        assert np.abs(data["bjd_tdb"] - data["hjd"] - 69.184 / 86400.0).max() * 86400.0 < 5.0


@pytest.mark.real
def test_parity_54_object_of_wrong_magnitude_is_dropped():
    bright = Target(STAR.name, ra=STAR.ra, dec=STAR.dec, mag=20.28 - 0.75)
    # medians are 20.234 to 20.320: only the first two are within 0.75 of 19.50
    kept = {oid for p in real(bright, gap=300.0) for oid in p.data.meta["oids"]}
    assert kept == {736115200001082, 805101300013289, 736315200051262}


def test_parity_54_shifted_object_is_dropped_and_back_with_a_wide_radius_or_without_source():
    rows = [row(i) for i in range(3)] + [row(i, oid=OID + 1, ra=10.0 + 100 / 3600) for i in range(10, 13)]
    assert sum(len(p.data) for p in made(*rows)) == 3
    assert sum(len(p.data) for p in made(*rows, radius=500.0)) == 6
    assert sum(len(p.data) for p in made(*rows, target=Target("nobody"))) == 6


def test_position_cut_works_across_right_ascension_zero():
    rows = [row(i, ra=ra) for i, ra in enumerate([359.9999, 0.0001, 359.99995])]
    assert len(made(*rows, target=Target("edge", ra=0.0, dec=20.0))) == 1


def test_fast_star_is_found_at_the_place_of_its_epoch():
    moving = Target("fast", ra=10.0, dec=20.0 - 18.5 * 2.0 / 3600.0, epoch=2000.0, pmra=0.0, pmdec=2000.0)
    still = Target("still", ra=10.0, dec=moving.dec)
    rows = [row(i, mjd=58300.0 + i) for i in range(3)]
    assert len(made(*rows, target=moving)) == 1
    assert made(*rows, target=still) == []


def test_seasons_are_pooled_over_filters():
    rows = [row(0, mjd=58300.0), row(1, mjd=58360.0)]
    bridge = row(2, oid=OID + 1, band="zr", mjd=58330.0)
    assert [len(p.data) for p in made(*rows)] == [1, 1]
    assert [(p.band, len(p.data)) for p in made(*rows, bridge)] == [("zg", 2), ("zr", 1)]


def test_two_seasons_in_one_month_have_different_series():
    rows = [row(0, mjd=58300.0), row(1, mjd=58310.0)]
    assert [p.series for p in made(*rows, gap=5.0)] == ["2018-07-zg", "2018-07-zg-2"]


def test_fluxes_and_times_of_one_epoch():
    (product,) = made(row(0, mag=23.9 - 2.5 * 2, mjd=58300.0), mag_range=None)
    data = product.data
    assert data.flux[0] == pytest.approx(100.0)
    assert data.flux_error[0] == pytest.approx(100.0 * 0.02 * 0.921034, rel=1e-5)
    assert data.mjd[0] == pytest.approx(58300.0 + 15.0 / 86400.0, abs=1e-9)
    assert data["mjd_start"][0] == 58300.0
    assert product.statistics["n"] == 1


def test_flagged_epochs_are_kept_and_marked():
    (product,) = made(row(0), row(1, flag=32768), row(2))
    assert (product.data.flags != 0).tolist() == [False, True, False]
    assert product.data["catflags"].tolist() == [0, 32768, 0]


def test_no_epoch_and_all_rejected_are_no_products():
    assert made() == []
    assert made(row(0, mag=12.0)) == []
    assert made(row(0, flag=1), drop_flagged=True) == []
    assert reduced(VirtualZTF(), [], TARGET) == []


def test_barycentric_column_can_be_switched_off():
    assert "bjd_tdb" in made(row(0))[0].data
    assert "bjd_tdb" not in made(row(0), barycentric=False)[0].data


def test_alignment_moves_objects_to_a_common_zero_point_only_on_request():
    noise = 0.002 * np.random.default_rng(1).standard_normal(80)
    rows = [row(i, mag=18.0 + noise[i]) for i in range(50)]
    rows += [row(100 + i, oid=OID + 10**12, mag=18.03 + noise[50 + i], mjd=58310.5 + i) for i in range(30)]
    for align, expected in ((False, 0.03), (True, 0.0)):
        (product,) = made(*rows, align=align)
        mags = [
            np.median(product.data["mag"][product.data["object_id"] == oid]) for oid in (OID, OID + 10**12)
        ]
        assert mags[1] - mags[0] == pytest.approx(expected, abs=0.003)


def test_same_exposure_in_two_answers_counts_once():
    raws = [Raw(name, "csv", content=csv(row(0), row(1))) for name in "ab"]
    (product,) = reduced(VirtualZTF(), raws, TARGET)
    assert len(product.data) == 2


def test_result_does_not_depend_on_the_order_of_rows():
    rows = [row(i, mag=18.0 + 0.01 * i) for i in range(6)]
    (forward,), (backward,) = made(*rows), made(*reversed(rows))
    assert all(np.array_equal(forward.data[name], backward.data[name]) for name in forward.data)


def test_object_in_two_filters_is_refused():
    with pytest.raises(BadKeyword, match=str(OID)):
        made(row(0), row(1, band="zr"))


def test_simulated_answers_reduce_to_the_magnitude_of_the_target():
    survey = VirtualZTF()
    pairs = list(survey.fetch([TARGET], Client(origin="simulated")))
    products = reduced(survey, [raw for _, raw in pairs], TARGET)
    assert {p.band for p in products} == {"zg", "zr", "zi"}
    assert all(abs(np.median(p.data["mag"]) - 18.0) < 0.05 for p in products)


def moving(*, pmdec, **options):
    """Return the products of a star that moves north, given its trail of three objects and a bystander."""
    star = Target("fast", ra=10.0, dec=20.0, epoch=2018.0, pmra=0.0, pmdec=pmdec)
    rows = []
    for year in range(3):
        mjd = 58119.0 + 365.25 * (year + 0.5)
        place = 20.0 + 2.0 * (year + 0.5) / 3600.0
        rows += [row(i, oid=OID + year, mjd=mjd + i, dec=place) for i in range(5)]
    # a star that stands where the fast one passes; its median epoch is that of the passage
    rows += [
        row(i, oid=OID + 9, mjd=58119.0 + 365.25 * 1.5 + 300.0 * (i - 2), dec=20.0 + 3.0 / 3600.0)
        for i in range(5)
    ]
    found = reduced(VirtualZTF(gap=3000.0, **options), [Raw("x", "csv", content=csv(*rows))], star)
    return sorted({int(oid) - OID for p in found for oid in p.data["object_id"]})


def test_objects_along_the_track_are_taken_and_a_star_it_passes_is_not():
    assert moving(pmdec=2000.0) == [0, 1, 2]
    # the median position alone would let the bystander in
    assert moving(pmdec=2000.0, track_radius=30.0) == [0, 1, 2, 9]


def test_columns_have_the_names_of_the_conventions():
    header = HEADER + ",limitmag"
    (product,) = reduced(
        VirtualZTF(), [Raw("x", "csv", content=csv(row(0) + ",20.5", header=header))], Target("x")
    )
    assert product.data["limiting_mag"].tolist() == [20.5]
    assert product.data.units["limiting_mag"] == "mag"
    assert product.data["object_id"].tolist() == [OID]
    assert not {"oid", "limitmag"} & set(product.data.columns)


def test_errors_are_rescaled_only_on_request():
    rows = [row(0), row(0, oid=OID + 2 * 10**11, band="zi")]
    plain, scaled = (
        {
            p.band: p.data["mag_error"][0]
            for p in reduced(
                VirtualZTF(rescale_errors=on), [Raw("x", "csv", content=csv(*rows))], Target("x")
            )
        }
        for on in (False, True)
    )
    assert plain == {"zg": 0.02, "zi": 0.02}
    assert scaled["zg"] == pytest.approx(np.hypot(1.15 * 0.02, 0.004))
    assert scaled["zi"] == pytest.approx(np.hypot(0.02, 0.007))


@pytest.mark.real
@pytest.mark.parametrize("name", ["mag99.csv", "magm99.csv"])
def test_real_magnitudes_of_99_are_flagged_and_counted_and_make_no_events(name):
    from virtualobserver.analyses.transients import Transients
    from virtualobserver.conventions import FLAG_RANGE
    from virtualobserver.data.handles import as_handle
    from virtualobserver.observatory import Aux

    star = Target("star", ra=150.0, dec=20.0)
    content = real_data("reports", "ztf", "lc", name).read_bytes()
    sentinels = content.count(b",99.0,99.0,") + content.count(b",-99.0,")
    raw = lightcurve_raw(content, name)
    products = reduced(VirtualZTF(gap=300.0), [raw], star)
    assert raw.header["out_of_range"] == sentinels > 0
    assert sum(product.data.meta["out_of_range"] for product in products) == sentinels
    for product in products:
        flagged = (product.data.flags & FLAG_RANGE) != 0
        assert np.isnan(product.data["mag"][flagged]).all()
        assert np.isfinite(product.data.flux[~flagged]).all()
    analysis = Transients()
    found = analysis.find([as_handle(one) for one in products], Aux(star), analysis.settings).detections
    assert [(event.kind, round(event.peak_mjd)) for event in found] == [
        ("flare", pytest.approx(58340, abs=3))
    ]


def test_julian_dates_under_mjd_are_an_error_that_says_so():
    with pytest.raises(BadKeyword, match=r"made: column mjd .*Julian dates; subtract 2400000.5"):
        made(*(row(n).replace(f",{58300.0 + n},", f",{2458300.5 + n},") for n in range(2)))


def test_a_time_an_exposure_or_a_place_that_cannot_be_is_taken_out():
    good = row(3)
    content = csv(row(0), row(1, mjd=-99.0), row(2)[:-2] + "-30", good.replace(",20.0,", ",-99.0,"))
    columns = parse(content, "t")
    assert columns["out_of_range"].tolist() == [0, 1, 1, 1]
    assert [np.isnan(columns[name]).tolist().index(True) for name in ("mjd", "exptime", "dec")] == [1, 2, 3]


@pytest.mark.parametrize("answers", [1, 2])
def test_an_exposure_of_an_object_is_one_row_in_one_answer_and_in_two(answers):
    def table(rows):
        mjd = np.array([58300.0 + row for row in rows])
        return {
            "oid": np.full(len(rows), 686103400067717, dtype=np.int64),
            "mjd": mjd,
            "mag": np.array([17.0 + row for row in rows]),
            "exptime": np.full(len(rows), 30.0),
        }

    whole = join([table([0, 1, 2])])
    twice = [[0, 1, 1, 2, 0]] if answers == 1 else [[0, 1], [1, 2, 0]]
    found = join([table(rows) for rows in twice])
    assert {name: values.tolist() for name, values in found.items()} == {
        name: values.tolist() for name, values in whole.items()
    }
    # another object seen in the same exposure stays, and so does the second decimal of another form
    other = table([0, 1]) | {"oid": np.array([686103400067718] * 2, dtype=np.int64)}
    written = table([0]) | {"mjd": np.array([58300.0 + 1e-8])}
    assert len(join([table([0, 1]), other, written])["mjd"]) == 4


def test_exposures_whose_times_a_bulk_file_rounds_to_the_same_are_kept():
    table = {
        "oid": np.full(3, 250101100000388, dtype=np.int64),
        "mjd": np.full(3, 58300.00390625),
        "mjd_start": np.full(3, 58300.00390625),
        "mag": np.array([17.0, 17.1, 17.0]),
    }
    assert join([table])["mag"].tolist() == [17.0, 17.1]
