"""Asteroids: nights put together, known bodies named, and what happens where nobody answers."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs

import numpy as np
import pytest
from support.loopback import Act, Loopback
from support.real import real_data

from virtualobserver.analyses.asteroids import Asteroids
from virtualobserver.analyses.asteroids.trial import CONTRACT
from virtualobserver.analyses.periods import Periods
from virtualobserver.catalog.orbits import LocalOrbits, build_orbits
from virtualobserver.catalog.skybot import SkyBot, parse_bodies
from virtualobserver.data.handles import MemoryHandle, as_handle
from virtualobserver.data.product import Aux, Product, Target
from virtualobserver.data.table import Table
from virtualobserver.errors import ArchiveAnswerError, ArchiveError, ArchiveUnavailable, ConfigError
from virtualobserver.io.http.client import HttpClient, Retry, Timeouts
from virtualobserver.maths.ephemeris.orbits import elements_of
from virtualobserver.maths.ephemeris.seen import Observer, ephemeris
from virtualobserver.maths.ephemeris.through import state_through
from virtualobserver.maths.times import Site
from virtualobserver.simulate import Simulator

SITE = Site(-2.566, 37.983, 1530.0)
PLACE = {"OBS_LON": SITE.lon, "OBS_LAT": SITE.lat, "OBS_ELEV": SITE.height, "MPCCODE": "J75"}
FIELD = Target("field", ra=158.0, dec=9.0, kind="field")
START = 57809.9


def bodies(seed, n=4):
    """Return the states of bodies that cross the field, all at one epoch."""
    rng = np.random.default_rng(seed)
    observer = Observer.at([START + 1], SITE)
    return [
        state_through(
            (158.0 + rng.uniform(-0.2, 0.2), 9.0 + rng.uniform(-0.2, 0.2)), observer, rng.uniform(0.9, 2), rng
        )
        for _ in range(n)
    ]


def tables(states, *, nights=3, seed=1, method="link", error=0.1, missing=()):
    """Return the tables of tracks of nights in which all bodies but `missing`, (night, body), were found."""
    rng = np.random.default_rng(seed)
    made = []
    for night in range(nights):
        mjd = START + night + np.arange(10) * 0.012
        observer = Observer.at(mjd, SITE)
        parts = []
        for k, state in enumerate(states):
            if (night, k) in missing:
                continue
            seen = ephemeris(state, observer, perturbations=False)
            off = rng.normal(0, error, (2, 1 if method == "stack" else mjd.size)) / 3600
            ra, dec = seen.ra[0] + off[0] / np.cos(np.radians(seen.dec[0])), seen.dec[0] + off[1]
            flux = 50.0 * (1 + 0.3 * np.sin(2 * np.pi * mjd * 24 / 2.6)) / (seen.delta[0] * seen.r[0]) ** 2
            parts.append(
                {"track": np.full(mjd.size, f"M{mjd[0]:.5f}_{ra[0]:09.5f}{dec[0]:+09.5f}"), "mjd": mjd, "ra": ra,
                 "dec": dec, "flux": flux, "flux_error": flux / 50, "snr": np.full(mjd.size, 50.0)}
            )  # fmt: skip
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        n = len(columns["mjd"])
        columns |= {name: np.full(n, error) for name in ("ra_error", "dec_error")}
        columns |= {name: np.full(n, np.nan) for name in ("x", "y", "rate", "rate_error", "pa", "chi2")}
        columns |= {"exptime": np.full(n, 60.0), "flags": np.zeros(n, int), "band": np.full(n, "NONE")}
        meta = {"method": method, "epochs": mjd.tolist(), "centre": [158.0, 9.0], **PLACE}
        handle = as_handle(Product(Table(columns, {"flux": "uJy"}, meta), role="tracks"))
        made.append(MemoryHandle(handle.load(), replace(handle.info, unit=f"1702{24 + night}")))
    return made


def orbits_of(tmp_path, states, h=14.0):
    rows = ["full_name,H,G,q,e,i,om,w,tp,epoch"]
    for n, state in enumerate(states):
        one = elements_of(state)
        values = (one.q, one.e, one.inclination, one.node, one.argument)
        numbers = [f"{value[0]:.12f}" for value in values]
        numbers += [f"{value[0] + 2400000.5:.9f}" for value in (one.perihelion, one.epoch)]
        rows.append(",".join([f"{1001 + n} Body{n}", f"{h}", "0.15", *numbers]))
    path = tmp_path / "orbits.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return build_orbits(path, tmp_path, "made@1")


def searched(products, service=None, aux=None, **options):
    search = Asteroids(**({"identify": "made@1"} if service is not None else {}), **options)
    aux = aux or Aux(FIELD, services={} if service is None else {"bodies": service})
    return search.find(products, aux, search.settings)


def names(result):
    """Return what each source was found to be, and how many nights it has."""
    nights = {event.source: event.parameters["n_nights"] for event in result.detections}
    return sorted((one.same_as or "", nights[one.target.name]) for one in result.sources)


@pytest.mark.parametrize("method", ["link", "stack"])
def test_bodies_of_three_nights_are_one_source_each_and_named_where_orbits_are_known(tmp_path, method):
    states = bodies(1)
    products = tables(states, method=method, missing={(1, 0)})
    result = searched(products, orbits_of(tmp_path, states[:2]))
    assert names(result) == [("", 3), ("", 3), ("(1001) Body0", 2), ("(1002) Body1", 3)]
    assert result.properties["n_known"] == result.properties["n_asteroids"] == 2
    assert result.properties["identified_by"] == "orbits made@1"
    assert len(result.detections) == 110
    for event in result.detections:
        facts = event.parameters
        if facts["class"] == "known":
            assert facts["separation"] < 0.5
            assert np.hypot(facts["residual_east"], facts["residual_north"]) < 0.6
            assert facts["rate_difference"] < 0.5
            assert facts["label"] in {"(1001) Body0", "(1002) Body1"}
        else:
            assert facts["label"] == f"AST_{facts['number']}"
        rows = products[event.product].load()
        assert event.peak_mjd in rows["mjd"][rows["track"] == facts["track"]]


def test_light_curves_have_distances_where_the_body_is_known_and_periods_are_searched_in_them(tmp_path):
    states = bodies(2, 2)
    products = tables(states, nights=4)
    result = searched(products, orbits_of(tmp_path, states[:1]))
    curves = {one.series: one.data for one in result.products}
    assert {one.role for one in result.products} == {"asteroid"}
    known = next(one.target.name for one in result.sources if one.same_as)
    unknown = next(one.target.name for one in result.sources if not one.same_as)
    assert {"heliocentric_distance", "observer_distance", "phase_angle"} <= set(curves[known])
    assert "observer_distance" not in curves[unknown]
    curve = curves[known]
    assert len(curve) == 40
    observer = Observer.at(curve["mjd"], SITE)
    truth = ephemeris(states[0], observer)
    np.testing.assert_allclose(curve["observer_distance"], truth.delta[0], atol=1e-5)
    np.testing.assert_allclose(curve["heliocentric_distance"], truth.r[0], atol=1e-5)
    np.testing.assert_allclose(curve["phase_angle"], truth.alpha[0], atol=1e-3)
    found = Periods(method="asteroid", shortest=2.0, longest=12.0)
    properties = found.find([as_handle(curve, role="asteroid")], Aux(FIELD), found.settings).properties
    assert properties["reduced"] == ["heliocentric_distance", "observer_distance", "phase_angle"]
    assert min(abs(properties["period_hours"] / 2.6 - one) for one in (1, 2)) < 0.01


def test_nobody_asked_is_said_and_nights_may_stay_apart():
    products = tables(bodies(3))
    plain = searched(products)
    assert names(plain) == [("", 3)] * 4
    assert plain.properties["identified_by"] is None
    assert "vo orbits build" in plain.properties["reason"]
    apart = searched(products, nights="separate")
    assert names(apart) == [("", 1)] * 12
    assert searched(products, longest_gap=0.5).properties["n_bodies"] == 12


class Given:
    """Numbers that were given before."""

    def __init__(self, result):
        self.rows = [(one.peak_mjd, one.ra, one.dec, one.parameters["number"]) for one in result.detections]

    def before(self, target):
        assert target.name == "field"
        return self.rows


def test_a_number_stays_when_an_earlier_night_joins_and_no_number_means_two_bodies():
    products = tables(bodies(4))
    later = searched(products[1:])
    kept = {one.parameters["tracks"][0]: one.parameters["number"] for one in later.detections}
    fresh = {one.parameters["number"] for one in searched(products).detections}
    assert not fresh & set(kept.values())  # of the earlier night
    aux = Aux(FIELD, services={"numbers": Given(later)})
    whole = searched(products, aux=aux)
    assert {one.parameters["n_nights"] for one in whole.detections} == {3}
    assert {one.parameters["tracks"][1]: one.parameters["number"] for one in whole.detections} == kept
    assert {one.parameters["number"] for one in searched(products, aux=aux, numbers=None).detections} == fresh
    apart = searched(products, aux=aux, nights="separate")
    numbers = {one.source: one.parameters["number"] for one in apart.detections}
    assert len(numbers) == len(set(numbers.values())) == 12
    assert set(kept.values()) < set(numbers.values())
    merged = searched(products, aux=Aux(FIELD, services={"numbers": Given(apart)}))
    # of the three numbers of a body it has the oldest
    assert {one.parameters["number"] for one in merged.detections} == {
        one.parameters["number"] for one in apart.detections if one.parameters["night"] == "170224"
    }


def test_names_and_numbers_do_not_depend_on_order_on_other_bodies_or_on_later_nights(tmp_path):
    states = bodies(4)
    products = tables(states)
    orbits = orbits_of(tmp_path, states[:1])

    def called(some):
        return {
            event.source: (event.parameters["label"], event.parameters["number"])
            for event in searched(some, orbits).detections
        }

    whole = called(products)
    assert len({number for _, number in whole.values()}) == 4
    assert called(products[::-1]) == whole
    assert called(products[:1]) == whole
    rows = products[0].load()
    less = [MemoryHandle(rows.take(rows["track"] != rows["track"][-1]), products[0].info), *products[1:]]
    assert {name: whole[name] for name in called(less) if name in whole} == {
        name: one for name, one in called(less).items() if name in whole
    }
    mixed = np.random.default_rng(1).permutation(len(rows))
    assert called([MemoryHandle(rows.take(mixed), products[0].info), *products[1:]]) == whole


def test_few_detections_of_one_night_are_unknown_until_somebody_looks():
    table = tables(bodies(5, 1), nights=1)[0]
    few = MemoryHandle(table.load().take(slice(0, 4)), table.info)
    result = searched([few])
    (label,) = {event.parameters["label"] for event in result.detections}
    assert label.startswith("UNK_57809")
    assert searched([table]).detections[0].parameters["label"] == label.replace("UNK", "AST")
    assert searched([few], certain=4).properties["n_asteroids"] == 1


def test_what_has_no_place_on_the_sky_is_counted_and_left():
    table = tables(bodies(6, 2), nights=1)[0]
    rows = table.load()
    lost = rows.with_columns(ra=np.where(rows["track"] == rows["track"][0], np.nan, rows["ra"]))
    aux = Aux(FIELD)
    assert searched([MemoryHandle(lost, table.info)], aux=aux).properties["n_bodies"] == 1
    assert aux.notes == {"movers without places and errors at two times": 1}


def test_known_bodies_need_a_place_on_the_earth(tmp_path):
    table = tables(bodies(7, 1), nights=1)[0]
    bare = MemoryHandle(replace(table.load(), meta={"method": "link"}), table.info)
    orbits = orbits_of(tmp_path, bodies(7, 1))
    with pytest.raises(ConfigError, match=r"longitude, latitude and height.*170224.*set mpc_code and site"):
        searched([bare], orbits)
    result = searched([bare], orbits, site=(SITE.lon, SITE.lat, SITE.height))
    assert names(result) == [("(1001) Body0", 1)]
    far = searched(
        [bare], orbits, site=(120.0, -40.0, 0.0)
    )  # the other side of the Earth: 10 arcsec and more away
    assert names(far) == [("", 1)]
    with pytest.raises(ConfigError, match=r"three letters such as J75.*set mpc_code"):
        searched([bare], service("http://127.0.0.1:9/cone", tmp_path))


def test_bodies_that_should_have_been_seen_and_were_not_are_listed(tmp_path):
    states = bodies(8, 3)
    orbits = orbits_of(tmp_path, states)
    handle = tables(states, nights=1, missing={(0, 2)})[0]
    observer = Observer.at(handle.load().meta["epochs"], SITE)
    lost = ephemeris(states[2], observer)
    ra, dec = float(lost.ra.mean()), float(lost.dec.mean())

    def properties(corners, limit, *, movers=True):
        table = handle.load()
        feet = [{"corners": corners, "limit": limit}] * 10
        table = replace(
            table.take(np.arange(len(table) if movers else 0)), meta={**table.meta, "footprints": feet}
        )
        return searched([MemoryHandle(table, handle.info)], orbits).properties

    def box(half, ra=ra):
        return [
            [ra - half, dec - half],
            [ra + half, dec - half],
            [ra + half, dec + half],
            [ra - half, dec + half],
        ]

    told = properties(box(0.5), None)
    assert (told["n_missed"], told["n_too_faint"], told["known_in_field"]) == (1, 0, 3)
    (one,) = told["missed"]
    assert (one["name"], one["images"]) == ("(1003) Body2", 10)
    assert one["mag"] == pytest.approx(18, abs=4)
    assert properties(box(0.5), one["mag"] + 1)["n_missed"] == 1
    faint = properties(box(0.5), one["mag"] - 1)
    assert (faint["n_missed"], faint["n_too_faint"]) == (0, 1)
    beside = properties(box(0.1, ra + 0.2), None)  # within the circle of the movers, and on no image
    assert beside["n_missed"] == beside["n_too_faint"] == 0
    nothing = properties(box(0.5), None, movers=False)  # a night without movers has missed all
    assert nothing["n_missed"] == nothing["known_in_field"] == 3
    circle = searched([handle], orbits).properties  # of tables that do not say where the images were
    assert {(one["name"], one["images"]) for one in circle["missed"]} <= {("(1003) Body2", None)}


def test_services_are_what_settings_ask_for():
    assert Asteroids(identify="NONE").settings.identify is None
    assert Asteroids(identify="none", numbers=None).services == ()
    assert Asteroids(identify="skybot").services == ("bodies", "numbers")


def test_panels_show_all_bodies_and_what_known_ones_are_off_by(tmp_path):
    states = bodies(9, 2)
    search = Asteroids(identify="made@1")
    aux = Aux(FIELD, services={"bodies": orbits_of(tmp_path, states[:1])})
    ((sky, off),) = search.source_panels(tables(states), aux, search.settings).values()
    names = [mark.label for mark in sky.marks]
    assert "(1001) Body0" in names
    assert sum(name.startswith("AST_") for name in names) == 1
    (known,) = off.curves
    assert (known.label, len(known)) == ("(1001) Body0", 30)
    assert np.hypot(known.x, known.y).max() < 2
    assert list(search.figures(tables(states), aux, search.settings)) == ["asteroids"]


def test_panels_of_a_detection_point_out_its_body(tmp_path):
    states = bodies(9, 2)
    search = Asteroids(identify="made@1")
    aux = Aux(FIELD, services={"bodies": orbits_of(tmp_path, states[:1])})
    events = search.find(tables(states), aux, search.settings).detections
    first = {event.source: event for event in reversed(events)}
    shown = {}
    for event in first.values():
        *panels, facts = search.panels(tables(states), aux, search.settings, event)
        assert facts.rows[0][0] == "name"
        assert {unit for name, _, unit in facts.rows if "flux" in name} == {"µJy"}
        shown[facts.rows[0][1]] = panels
    known, unknown = sorted(shown)
    assert (known, unknown[:4]) == ("(1001) Body0", "AST_")
    sky, off = shown[known]
    assert sky.title.startswith(known)
    assert [mark.label for mark in sky.marks] == ["this epoch"]
    assert len(off.curves[0]) == 30
    (sky,) = shown[unknown]
    assert [mark.label for mark in sky.marks] == ["this epoch"]


def test_injected_bodies_come_out_whole_unless_nights_are_too_far_apart():
    quiet = [as_handle(one) for one in CONTRACT.noise(np.random.default_rng(3))]
    search = Asteroids()
    outcomes = Simulator(search).run(quiet, Aux(FIELD), range(30), digest="d")
    assert sum(one.recovered for one in outcomes) >= 28
    apart = Asteroids(longest_gap=0.3)
    assert not any(one.recovered for one in Simulator(apart).run(quiet, Aux(FIELD), range(5), digest="d"))
    busy = tables(bodies(10))
    assert sum(one.recovered for one in Simulator(search).run(busy, Aux(FIELD), range(10), digest="d")) >= 8


# -- the service ----------------------------------------------------------------------------------------------


@pytest.fixture
def loopback():
    with Loopback() as server:
        yield server


def service(url, tmp_path):
    client = HttpClient(retry=Retry(attempts=2, total=3.0), timeouts=Timeouts(connect=1, read=0.5, total=2))
    return SkyBot(client, tmp_path / "answers", url)


def recorded():
    """Return the recorded answer, and a table of tracks of movers where its bodies are."""
    content = real_data("sso", "recorded", "skybot_query.vot").read_bytes()
    seen = parse_bodies(content)
    # all are within the cone; a night about the time of the answer
    mjd = 60000.0 + (np.arange(9) - 4) * 0.005
    hours = (mjd - 60000.0) * 24
    columns = {name: [] for name in ("track", "mjd", "ra", "dec")}
    for k in range(len(seen)):
        dec = seen.dec[k, 0] + seen.rate_dec[k, 0] * hours / 3600
        ra = seen.ra[k, 0] + seen.rate_ra[k, 0] * hours / 3600 / np.cos(np.radians(dec))
        for name, values in (("track", np.full(9, f"M{k}")), ("mjd", mjd), ("ra", ra), ("dec", dec)):
            columns[name].append(values)
    made = {name: np.concatenate(some) for name, some in columns.items()}
    n = len(made["mjd"])
    made |= {name: np.full(n, 0.1) for name in ("ra_error", "dec_error")}
    made |= {name: np.full(n, 1.0) for name in ("flux", "flux_error", "x", "y", "snr", "exptime")}
    made |= {"flags": np.zeros(n, int), "band": np.full(n, "r")}
    return (
        content,
        seen,
        as_handle(Product(Table(made, {"flux": "uJy"}, {"method": "link", **PLACE}), role="tracks")),
    )


@pytest.mark.real
def test_the_recorded_answer_of_skybot_names_movers_where_its_bodies_are(loopback, tmp_path):
    content, seen, table = recorded()
    sky = service(loopback.on("/cone", Act(body=content)), tmp_path)
    # the same bytes answer for the middle of the night alone: the others are asked without bodies
    empty = content[: content.index(b"<vot:TR>")] + content[content.rindex(b"</vot:TR>") + 9 :]
    loopback.on("/cone", Act(body=empty), Act(body=content), Act(body=empty))
    result = searched([table], sky)
    named = {event.parameters["track"]: event.parameters["label"] for event in result.detections}
    wanted = {
        f"M{k}": f"({number}) {name}" if number else name
        for k, (number, name) in enumerate(zip(seen.number.tolist(), seen.name.tolist(), strict=True))
    }
    assert named == wanted
    assert "(229762)" in " ".join(named.values())
    assert result.properties["identified_by"] == "SkyBoT"
    asked = [parse_qs(one.query) for one in loopback.asked]
    assert [one["-loc"] for one in asked] == [["J75"]] * 3
    searched([table], sky)
    assert len(loopback.asked) == 3  # kept


@pytest.mark.parametrize(
    ("act", "kind", "said"),
    [
        (
            Act(body=b"# Flag: -1\n# Ticket: 1\nMySQL server has gone away\n"),
            ArchiveAnswerError,
            "MySQL server",
        ),
        (Act(status=429, headers={"Retry-After": "0"}), ArchiveUnavailable, "429"),
        (Act(header_delay=5.0), ArchiveUnavailable, "127.0.0.1"),
        (Act(body=b"<?xml version='1.0'?><VOTABLE version='1.3'>" + b" " * 500, cut=300), ArchiveError, "."),
    ],
    ids=["flag", "too many", "silence", "cut"],
)
def test_a_service_that_fails_says_what_and_the_movers_stay(loopback, tmp_path, act, kind, said):
    products = tables(bodies(11, 2), nights=1)
    before = products[0].load()
    sky = service(loopback.on("/cone", act), tmp_path)
    with pytest.raises(kind, match=said):
        searched(products, sky)
    assert products[0].load() is before
    assert searched(products).properties["n_bodies"] == 2
    assert isinstance(orbits_of(tmp_path, bodies(11, 1)), LocalOrbits)
