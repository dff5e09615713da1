"""Cones and matches against brute force, at poles and seam too."""

from __future__ import annotations

import numpy as np
import pytest
import sqlalchemy as sa
from support.db import start_test_server

from virtualobserver.db.bulk import copy_rows
from virtualobserver.db.engine import Database
from virtualobserver.db.sky import CELLS, cone_ranges, cone_search, crossmatch, hpx
from virtualobserver.errors import DatabaseError, DataError

META = sa.MetaData()
SOURCE = sa.Table(
    "source",
    META,
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("ra", sa.Double),
    sa.Column("dec", sa.Double),
    sa.Column("hpx", sa.BigInteger, index=True),
)


def unit_vectors(ra, dec):
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def separations(ra, dec, ras, decs):
    chord = np.linalg.norm(unit_vectors(ras, decs) - unit_vectors(ra, dec), axis=-1)
    return np.degrees(2 * np.arcsin(np.minimum(1, chord / 2))) * 3600


def positions():
    rng = np.random.default_rng(5)
    everywhere = rng.uniform(0, 360, 6000), np.degrees(np.arcsin(rng.uniform(-1, 1, 6000)))
    poles = rng.uniform(0, 360, 1000), np.repeat([1, -1], 500) * (90 - rng.uniform(0, 0.02, 1000))
    seam = rng.uniform(-0.01, 0.01, 1000) % 360, rng.uniform(-0.01, 0.01, 1000)
    return np.concatenate([everywhere[0], poles[0], seam[0]]), np.concatenate(
        [everywhere[1], poles[1], seam[1]]
    )


RA, DEC = positions()
CENTRES = [
    (0, 90),
    (123, 90),
    (7, -90),
    (0, 0),
    (359.9999, 0.001),
    (360, 0),
    (45, 41.8103),
    (90, 0),
    (211.3, 54.2),
]


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    with start_test_server(tmp_path_factory.mktemp("sky")) as server:
        base = Database(server.url())
        META.create_all(base.engine)
        with base.session() as session:
            copy_rows(session, SOURCE, {"id": np.arange(len(RA)), "ra": RA, "dec": DEC, "hpx": hpx(RA, DEC)})
            session.commit()
            session.execute(sa.text("ANALYZE source"))
            yield session
        base.close()


@pytest.mark.parametrize("centre", CENTRES)
@pytest.mark.parametrize("radius", [5.0, 30.0, 600.0, 36_000.0, 150_000.0])
def test_cone_finds_exactly_what_brute_force_finds(session, centre, radius):
    distance = separations(*centre, RA, DEC)
    wanted = np.flatnonzero(distance <= radius)
    rows = cone_search(session, *centre, radius, columns=("id", "ra", "dec"))
    assert sorted(row.id for row in rows) == wanted.tolist()
    assert [row.separation for row in rows] == sorted(row.separation for row in rows)
    assert np.allclose(
        [row.separation for row in rows], distance[[row.id for row in rows]], rtol=1e-6, atol=1e-6
    )


def test_cones_take_coordinates_and_quantities_as_well_as_floats(session):
    import astropy.units as u
    from astropy.coordinates import SkyCoord

    wanted = cone_search(session, 123.0, 89.99, 60.0)
    assert wanted
    place = SkyCoord(123.0 * u.deg, 89.99 * u.deg)
    for found in (
        cone_search(session, place, 1 * u.arcmin),
        cone_search(session, place.galactic, radius=60),
        cone_search(session, ra=place, radius=60.0 * u.arcsec),
        cone_search(session, 123 * u.deg, (89.99 * u.deg).to(u.rad), 60 * u.arcsec, columns=("id",)),
    ):
        assert [row.id for row in found] == [row.id for row in wanted]
    stars = SkyCoord(RA[:50], DEC[:50], unit="deg")
    matches = crossmatch(session, stars, 0.001 * u.arcsec)
    np.testing.assert_array_equal(matches.id, crossmatch(session, RA[:50], DEC[:50], 0.001).id)
    assert hpx(SkyCoord(350, 5, unit="deg")) == hpx(350, 5)
    with pytest.raises(DataError, match=r"radius is 3\.0 s"):
        cone_search(session, place, 3 * u.s)


def test_whole_sky_is_one_range():
    low, high = cone_ranges(10, 10, 180)
    assert (low.tolist(), high.tolist()) == ([0], [CELLS])


@pytest.mark.parametrize("radius", [1e-6, 0.01, 1.0, 20.0])
def test_ranges_cover_the_rim_and_are_disjoint(radius):
    rng = np.random.default_rng(1)
    for ra, dec in [*CENTRES, *zip(rng.uniform(0, 360, 40), rng.uniform(-90, 90, 40), strict=True)]:
        low, high = cone_ranges(ra, dec, radius)
        assert np.all(low < high)
        assert np.all(high[:-1] < low[1:])
        angle = np.radians(np.arange(0, 360, 5))
        r, d = np.radians(radius) * (1 - 1e-9), np.radians(dec)
        rim = np.arcsin(np.clip(np.sin(d) * np.cos(r) + np.cos(d) * np.sin(r) * np.cos(angle), -1, 1))
        turn = np.arctan2(np.sin(angle) * np.sin(r) * np.cos(d), np.cos(r) - np.sin(d) * np.sin(rim))
        cells = hpx(ra + np.degrees(turn), np.degrees(rim))
        inside = (cells[:, None] >= low) & (cells[:, None] < high)
        assert inside.any(axis=1).all()


def test_coarser_cells_are_a_shift_of_the_stored_one():
    assert hpx(0, 90).dtype == np.int64
    assert int(hpx(45, 89.9999)) >> 58 == 0
    assert hpx(-10, 5) == hpx(350, 5)


@pytest.mark.parametrize("nearest", [True, False])
def test_crossmatch_finds_exactly_what_brute_force_finds(session, nearest):
    rng = np.random.default_rng(2)
    pick = np.concatenate([rng.choice(6000, 60), np.arange(6000, 8000, 40)])
    ra = np.append(RA[pick] + 1e-5, [200.0])
    dec = np.append(np.clip(DEC[pick] + 1e-5, -90, 90), [-33.0])
    found = crossmatch(session, ra, dec, 20.0, nearest=nearest)
    wanted = []
    for i, centre in enumerate(zip(ra, dec, strict=True)):
        distance = separations(*centre, RA, DEC)
        near = np.flatnonzero(distance <= 20)
        near = near[np.argsort(distance[near], kind="stable")]
        wanted += [(i, int(j)) for j in (near[:1] if nearest else near)]
    assert list(zip(found.index.tolist(), found.id.tolist(), strict=True)) == wanted
    assert len(found) == len(wanted) > 100


def test_crossmatch_of_nothing_is_empty(session):
    assert len(crossmatch(session, [], [], 5.0)) == 0
    assert len(crossmatch(session, [200.0], [-33.0], 1e-6)) == 0


def test_cone_uses_the_index(session):
    seen = []
    sa.event.listen(session.get_bind(), "before_cursor_execute", lambda *a: seen.append(a[2:4]))
    cone_search(session, 10, 10, 5)
    statement, values = seen[0]
    plan = session.connection().exec_driver_sql("EXPLAIN " + statement, values).scalars().all()
    assert "ix_source_hpx" in "\n".join(plan)


def test_a_mapped_table_is_searched_by_its_own_columns(session):
    assert cone_search(session, 0, 90, 600, table=SOURCE)
    with pytest.raises(DatabaseError, match="mag"):
        cone_search(session, 0, 0, 5, table=SOURCE, columns=("mag",))


@pytest.mark.parametrize(
    "options",
    [
        {"table": "source; DROP TABLE source; --"},
        {"table": "pg_authid"},
        {"columns": ('id" FROM source; DROP TABLE source; --',)},
        {"columns": ("(SELECT 1)",)},
    ],
)
def test_fault_20_names_come_from_the_allow_list_only(session, options):
    with pytest.raises(DatabaseError):
        cone_search(session, 0, 0, 5, **options)
    assert session.scalar(sa.select(sa.func.count()).select_from(SOURCE)) == len(RA)


@pytest.mark.parametrize(("ra", "dec", "radius"), [(0, 91, 1), (np.nan, 0, 1), (0, 0, -1), (0, 0, np.nan)])
def test_positions_off_the_sky_and_bad_radii_are_refused(session, ra, dec, radius):
    with pytest.raises(DataError):
        cone_search(session, ra, dec, radius)
