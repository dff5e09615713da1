"""What Gaia and SIMBAD know of the star: the questions that are sent, the answers that are read, the choice."""

from urllib.parse import parse_qs

import numpy as np
import pytest
from support.harps import STAR, Client, adp
from support.loopback import Act, Loopback
from support.star import BETA, GAIA, PLANET, answer, objects

from virtualobserver.data.product import Known, Raw, RawRef, Target
from virtualobserver.errors import ArchiveAnswerError, ArchiveUnavailable, ConfigError, DataError
from virtualobserver.io.http.client import HttpClient, Retry, Timeouts
from virtualobserver.observatories.harps import VirtualHARPS, simbad
from virtualobserver.observatories.harps.gaia import query_over
from virtualobserver.observatories.harps.star import Patience, StarServices, identify_star, with_star
from virtualobserver.observatory import Aux

COLUMNS = (
    'basic."main_id", basic."ra", basic."dec", basic."pmra", basic."pmdec", basic."plx_value", basic."rvz_radvel", '
    'basic."sp_type", basic."otype", allfluxes."V", allfluxes."G", ids."ids"'
)


@pytest.fixture
def server():
    with Loopback() as running:
        yield running


def star_of(*rows, target=STAR):
    raw = Raw("simbad", "votable", content=objects(*rows), header={"service": "simbad"})
    return simbad.identify([RawRef.of(raw)], target, [2010.0])


def http():
    return HttpClient(retry=Retry(attempts=2, first_wait=0.01), timeouts=Timeouts(connect=2, read=2, total=5))


def sent(server, part):
    return [parse_qs(one.query)["QUERY"][0] for one in server.asked if part in one.path]


def test_question_by_position_has_the_documented_form():
    assert simbad.build_query((86.8211987, -51.0665114, 30 / 3600)) == (
        f"SELECT {COLUMNS} FROM basic "
        "LEFT JOIN ids ON ids.oidref = basic.oid LEFT JOIN allfluxes ON allfluxes.oidref = basic.oid "
        "WHERE CONTAINS(POINT('ICRS', basic.ra, basic.dec), CIRCLE('ICRS', 86.8211987, -51.0665114, 0.0083333)) = 1"
    )


def test_question_by_name_has_the_documented_form():
    assert simbad.build_query(names=("bet Pic", "HD 39060", "bet Pic", "β Pic")) == (
        f"SELECT DISTINCT {COLUMNS} FROM basic "
        "LEFT JOIN ids ON ids.oidref = basic.oid LEFT JOIN allfluxes ON allfluxes.oidref = basic.oid "
        "JOIN ident ON ident.oidref = basic.oid WHERE ident.id = 'bet Pic' OR ident.id = 'HD 39060'"
    )


def test_fault_20_a_name_cannot_carry_a_query():
    assert "ident.id = 'x'' OR 1=1 --'" in simbad.build_query(names=("x' OR 1=1 --",))
    with pytest.raises(DataError, match="ASCII"):
        simbad.build_query(names=("β\nPic", " "))
    with pytest.raises(ConfigError, match="cone"):
        simbad.build_query((np.nan, 0.0, 0.1))


def test_payload_is_that_of_a_synchronous_tap_query_and_asked_once(server, tmp_path):
    server.on("/tap/sync", Act(body=objects(BETA)))
    for _ in range(2):
        raw = simbad.ask(http(), tmp_path, STAR, url=f"{server.url}/tap")
    (asked,) = server.asked
    form = {name: values[0] for name, values in parse_qs(asked.query).items()}
    assert form == {
        "REQUEST": "doQuery", "LANG": "ADQL", "MAXREC": "1000",
        "QUERY": simbad.build_query((86.8212, -51.0665, 30 / 3600)),
    }  # fmt: skip
    assert (raw.format, raw.header["adql"]) == ("votable", form["QUERY"])


def test_position_is_asked_for_where_the_star_was_in_2000(server, tmp_path):
    server.on("/tap/sync", Act(body=objects()))
    fast = Target("Gl 273", ra=111.85, dec=5.2, epoch=2016.0, pmra=0.0, pmdec=-3600.0)
    simbad.ask(http(), tmp_path, fast, url=f"{server.url}/tap")
    (adql,) = sent(server, "tap")
    assert "111.8500000, 5.2160000, 0.0083333" in adql


@pytest.mark.parametrize("form", ["tabledata", "binary", "binary2"])
def test_answers_are_read_in_every_serialisation(form):
    star, planet = simbad.parse_stars(objects(BETA, PLANET, form=form), "here")
    assert (star.main_id, star.sptype, star.otype) == ("* bet Pic", "A6V", "PM*")
    assert (star.pmra, star.pmdec, star.parallax, star.mag_v) == (4.65, 83.1, 50.9307, 3.861)
    assert star.names[1:3] == ("HD 39060", "HR 2020")
    assert star.gaia_dr3 == "4792774797545800832"
    assert np.isnan([planet.pmra, planet.mag_v]).all()
    assert (planet.sptype, planet.gaia_dr3) == ("", "")


def test_answer_without_a_column_is_an_error_that_names_it():
    with pytest.raises(ArchiveAnswerError, match="sp_type"):
        simbad.parse_stars(answer({"main_id": ["x"], "ra": [1.0]}), "here")


def test_star_is_chosen_by_name_then_by_place_and_brightness():
    twin = BETA | {"main_id": "HD 1", "ids": "HD 1", "V": 9.0}
    named = Target("HD039060", ra=STAR.ra, dec=STAR.dec)
    assert star_of(twin, BETA, PLANET, target=named).main_id == "* bet Pic"
    bright = Target("x", ra=BETA["ra"], dec=BETA["dec"], epoch=2000.0, mag=3.9, mag_band="V")
    assert star_of(twin, BETA, PLANET, target=bright).main_id == "* bet Pic"
    assert star_of(BETA | {"ra": 86.9, "ids": ""}, target=bright) is None
    assert star_of(BETA, target=Target("somewhere")).main_id == "* bet Pic"
    assert star_of(BETA, twin, target=Target("somewhere")) is None


def test_fast_star_is_matched_at_the_date_of_the_spectra():
    # the place of 2015; on the J2000 position a brighter star stands today
    fast = BETA | {"main_id": "fast", "pmra": 0.0, "pmdec": -3600.0, "ids": "fast"}
    other = BETA | {"main_id": "other", "dec": BETA["dec"] - 0.015, "pmra": 0.0, "pmdec": 0.0, "ids": "other"}
    target = Target("x", ra=BETA["ra"], dec=BETA["dec"] - 0.015, epoch=2015.0, pmra=0.0, pmdec=-3600.0)
    raw = Raw("simbad", "votable", content=objects(other, fast), header={"service": "simbad"})
    assert simbad.identify([RawRef.of(raw)], target, [2005.0]).main_id == "fast"


def serve(server, rows):
    server.on("/simbad/sync", Act(body=objects(*rows)))
    count = answer({"n": [2]})
    server.on("/gaia/sync", Act(body=answer(GAIA)), Act(body=count))
    return StarServices(gaia=f"{server.url}/gaia", simbad=f"{server.url}/simbad")


def land(target, services, tmp_path, **options):
    def fetch(one):
        assert one.ra == pytest.approx(86.8212, abs=1e-3)
        yield one, Raw("ADP.1", "fits", content=adp(0))

    settings = VirtualHARPS.Settings(**options)
    return list(with_star(target, fetch, Client(http=http(), scratch=tmp_path), settings, services=services))


def test_star_without_a_position_is_found_by_name_and_reduced_with_what_both_know(server, tmp_path):
    services = serve(server, [BETA, PLANET])
    landed = land(Target("bet Pic", aliases=("HD 39060",), mag=3.86, mag_band="V"), services, tmp_path)
    assert [raw.format for _, raw in landed] == ["fits", "votable", "csv"]
    assert {target.ra for target, _ in landed} == {None}
    assert len(sent(server, "simbad")) == 1
    assert "ident.id = 'HD 39060'" in sent(server, "simbad")[0]
    # the motion of SIMBAD carries the position of 2000 to Gaia's date
    assert "86.8212316, -51.0661421" in sent(server, "gaia")[0]
    survey = VirtualHARPS()
    raws = [RawRef.of(raw) for _, raw in landed]
    meta = survey.reduce(raws, Aux(landed[0][0]), survey.settings)[0].data.meta
    assert (meta["simbad"]["main_id"], meta["simbad"]["sptype"]) == ("* bet Pic", "A6V")
    assert meta["simbad"]["aliases"][1] == "HD 39060"
    assert meta["gaia"]["source_id"] == "4792774797545800832"
    assert meta["gaia"]["agrees_with_simbad"] is True


def test_gaia_is_asked_with_the_client_of_the_archive_and_its_answer_kept(server, tmp_path):
    services = serve(server, [BETA])
    land(STAR, services, tmp_path)
    land(STAR, services, tmp_path)
    # one question and one count of its rows, each once
    assert [text.startswith("SELECT COUNT(*)") for text in sent(server, "gaia")] == [False, True]
    assert "gaiadr3.gaia_source" in sent(server, "gaia")[0]
    assert len(sent(server, "simbad")) == 1


def test_disagreement_with_simbad_is_told(server, tmp_path):
    services = serve(server, [BETA | {"ids": "* bet Pic|Gaia DR3 77"}])
    raws = [RawRef.of(raw) for _, raw in land(STAR, services, tmp_path)]
    assert identify_star(raws, STAR, [2010.0])[1]["agrees_with_simbad"] is False


@pytest.mark.parametrize("service", ["gaia", "simbad"])
def test_catalogue_that_does_not_answer_is_an_error_of_the_target_after_its_spectra(
    server, tmp_path, service
):
    services = serve(server, [BETA])
    server.on(f"/{service}/sync", Act(status=503))
    landed = land(STAR, services, tmp_path)
    assert landed[0][1].archive_id == "ADP.1"
    assert isinstance(landed[-1][1], ArchiveUnavailable)


def test_service_that_stays_silent_is_left_alone_and_comes_back():
    patience, asked = Patience(), []

    def silent():
        asked.append(1)
        raise ArchiveUnavailable("no answer")

    for _ in range(5):
        with pytest.raises(ArchiveUnavailable):
            patience.ask("SIMBAD", silent)
    assert len(asked) == 3
    assert patience.ask("Gaia", lambda: "stars") == "stars"
    again = Patience()
    for question in (silent, silent, lambda: "here", silent, silent, lambda: "here"):
        try:
            answer = again.ask("SIMBAD", question)
        except ArchiveUnavailable:
            continue
    assert answer == "here"


def test_star_is_asked_for_again_where_only_the_spectra_are_known_and_not_stored_twice(server, tmp_path):
    services = serve(server, [BETA])
    known = {"ADP.1": Known("ADP.1", 7, "fits", {"store": "full"})}
    settings = VirtualHARPS.Settings()

    def fetch(one):
        yield one, known["ADP.1"]

    def again():
        client = Client(http=http(), scratch=tmp_path, known=known)
        return [thing for _, thing in with_star(STAR, fetch, client, settings, services=services)]

    first = again()
    assert [type(thing) for thing in first] == [Known, Raw, Raw]
    known |= {raw.archive_id: Known(raw.archive_id, 8) for raw in first[1:]}
    assert [type(thing) for thing in again()] == [Known, Known, Known]


def test_unknown_name_without_position_is_an_error_of_that_target(server, tmp_path):
    services = serve(server, [])
    ((target, error),) = land(Target("nobody"), services, tmp_path)
    assert target.name == "nobody"
    assert isinstance(error, DataError)
    assert "SIMBAD" in str(error)


def test_nothing_is_asked_where_it_is_not_wanted(server, tmp_path):
    services = serve(server, [BETA])
    assert len(land(STAR, services, tmp_path, simbad="never", reference="never")) == 1
    assert server.asked == []


def test_pace_of_the_client_holds_for_gaia_too(server):
    waits = []

    class Limiter:
        def acquire(self, host):
            waits.append(host)

        def penalise(self, host, seconds):
            raise AssertionError

    server.on("/gaia/sync", Act(body=answer({"n": [2]})))
    query_over(HttpClient(limiter=Limiter()), f"{server.url}/gaia")("SELECT 1")
    assert [host.partition(":")[0] for host in waits] == ["127.0.0.1"]
