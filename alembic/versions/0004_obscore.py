"""The view obscore with every mandatory column of ObsCore 1.1, addresses that are URLs, media types and bands.

Revision 0004, after 0003; made 2026-11-28.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# As `virtualobserver.conventions.BANDS` had it when this was written; a test compares them.
BANDS = """
          ('zg', 3.676e-7, 5.614e-7), ('zr', 5.498e-7, 7.394e-7), ('zi', 6.871e-7, 8.965e-7),
          ('ZTF_g', 3.676e-7, 5.614e-7), ('ZTF_r', 5.498e-7, 7.394e-7), ('ZTF_i', 6.871e-7, 8.965e-7),
          ('G', 3.294e-7, 1.0302e-6), ('BP', 3.302e-7, 6.738e-7), ('RP', 6.196e-7, 1.0423e-6),
          ('U', 3.0e-7, 4.2e-7), ('B', 3.6e-7, 5.6e-7), ('V', 4.7e-7, 7.0e-7), ('R', 5.5e-7, 9.0e-7),
          ('I', 7.0e-7, 9.2e-7),
          ('u', 3.048e-7, 4.028e-7), ('g', 3.783e-7, 5.549e-7), ('r', 5.415e-7, 6.989e-7),
          ('i', 6.689e-7, 8.389e-7), ('z', 7.960e-7, 1.0830e-6)"""

# A path as it stands in a URL: what RFC 3986 reserves, and what is not ASCII, as %XX of its UTF-8 bytes.
URI_PATH = r"""
    CREATE FUNCTION uri_path(path text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
      SELECT CASE WHEN path ~ '^[A-Za-z0-9_.~/-]*$' THEN path ELSE (
        SELECT string_agg(CASE WHEN c ~ '[A-Za-z0-9_.~/-]' THEN c ELSE regexp_replace(
          upper(encode(convert_to(c, 'UTF8'), 'hex')), '(..)', '%\1', 'g') END, '' ORDER BY n)
        FROM regexp_split_to_table(path, '') WITH ORDINALITY AS letter(c, n)) END
    $$"""


# Views use it with the rights of who asks.
GRANTED = "GRANT EXECUTE ON FUNCTION uri_path(text) TO PUBLIC"


def url_of(block: str) -> str:
    """Return the address of a file `f`: of one of the store under its folder, of one in place where it is."""
    return f"""CASE WHEN f.path IS NULL THEN NULL
            WHEN f.path ~ '^[a-z][a-z0-9+.-]+://' THEN f.path
            ELSE 'file://' || uri_path(CASE WHEN f.path LIKE '/%' THEN f.path
              ELSE (SELECT root FROM place) || '/' || f.path END)
              || CASE WHEN {block} = '' THEN '' ELSE '#' || uri_path({block}) END END"""


MEDIA = """CASE f.format WHEN 'hdf5' THEN 'application/x-hdf5' WHEN 'fits' THEN 'application/fits'
            WHEN 'csv' THEN 'text/csv' WHEN 'votable' THEN 'application/x-votable+xml'
            WHEN 'parquet' THEN 'application/vnd.apache.parquet' WHEN 'json' THEN 'application/json'
            WHEN 'zip' THEN 'application/zip' WHEN 'gz' THEN 'application/gzip' WHEN 'tar' THEN 'application/x-tar'
            ELSE CASE WHEN f.path ~ '[.](txt|dat|tbl)$' THEN 'text/plain' ELSE 'application/octet-stream' END END"""

NEW = f"""
        WITH bands (band, em_min, em_max) AS (VALUES {BANDS})
        SELECT coalesce(r.dataproduct_type, 'timeseries')::text AS dataproduct_type, 1 AS calib_level,
          coalesce(r.obs_collection, upper(r.observatory))::text AS obs_collection,
          coalesce(r.obs_id, r.archive_id)::text AS obs_id,
          'ivo://virtualobserver/raw?' || r.id AS obs_publisher_did,
          coalesce({url_of("r.block")}, r.header->>'url') AS access_url,
          {MEDIA} AS access_format,
          ((f.bytes + 999) / 1000)::bigint AS access_estsize,
          s.name::text AS target_name, coalesce(r.s_ra, s.ra) AS s_ra, coalesce(r.s_dec, s.dec) AS s_dec,
          r.s_fov, NULL::text AS s_region, NULL::float8 AS s_resolution,
          NULL::bigint AS s_xel1, NULL::bigint AS s_xel2, r.t_min, r.t_max, r.t_exptime,
          NULL::float8 AS t_resolution,
          CASE WHEN r.header->>'epochs' ~ '^[0-9]+$' THEN (r.header->>'epochs')::bigint END AS t_xel,
          coalesce(r.em_min, b.em_min)::float8 AS em_min, coalesce(r.em_max, b.em_max)::float8 AS em_max,
          NULL::float8 AS em_res_power, NULL::bigint AS em_xel, NULL::text AS o_ucd, NULL::text AS pol_states,
          NULL::bigint AS pol_xel, r.facility_name::text AS facility_name,
          coalesce(r.instrument_name, upper(r.observatory))::text AS instrument_name
        FROM raw_data r
        JOIN file f ON f.id = r.file_id
        LEFT JOIN LATERAL (SELECT DISTINCT source_id FROM source_raw x WHERE x.raw_data_id = r.id) l ON true
        LEFT JOIN source s ON s.id = l.source_id
        LEFT JOIN LATERAL (
          SELECT min(em_min) AS em_min, max(em_max) AS em_max FROM bands
          WHERE jsonb_exists(r.header->'filters', band) OR band IN (r.header->>'filter', r.header->>'band')) b ON true
        WHERE NOT r.simulated
        UNION ALL
        SELECT CASE o.kind WHEN 'lightcurve' THEN 'timeseries' WHEN 'table' THEN 'measurements' ELSE o.kind END,
          CASE WHEN starts_with(t.step, 'reduce') THEN 2 ELSE 3 END, upper(split_part(t.step, ':', 2)),
          s.name || '/' || o.series, 'ivo://virtualobserver/product?' || o.id, {url_of("o.block")}, {MEDIA},
          ((f.bytes + 999) / 1000)::bigint, s.name, s.ra, s.dec, NULL, NULL, NULL, NULL, NULL,
          o.t_min - coalesce(o.exptime, 0) / 172800, o.t_max + coalesce(o.exptime, 0) / 172800,
          o.exptime * CASE WHEN o.kind IN ('lightcurve', 'spectrum') THEN o.n ELSE 1 END,
          CASE o.kind WHEN 'lightcurve' THEN o.exptime END,
          CASE WHEN o.kind IN ('lightcurve', 'spectrum') THEN o.n::bigint END,
          coalesce(b.em_min, seen.em_min)::float8, coalesce(b.em_max, seen.em_max)::float8, NULL, NULL,
          CASE o.kind WHEN 'lightcurve' THEN 'phot.flux.density' WHEN 'spectrum' THEN 'phot.flux.density;em.wl' END,
          NULL, NULL, seen.facility, coalesce(seen.instrument, upper(split_part(t.step, ':', 2)))
        FROM product o
        JOIN task t ON t.id = o.task_id
        JOIN source s ON s.id = o.source_id
        LEFT JOIN file f ON f.id = o.file_id
        LEFT JOIN bands b ON b.band = o.band AND o.kind <> 'spectrum'
        LEFT JOIN LATERAL (
          SELECT string_agg(DISTINCT r.facility_name, ';') AS facility,
            string_agg(DISTINCT r.instrument_name, ';') AS instrument, min(r.em_min) AS em_min, max(r.em_max) AS em_max
          FROM source_raw x JOIN raw_data r ON r.id = x.raw_data_id
          WHERE x.source_id = t.source_id
            AND (NOT starts_with(t.step, 'reduce:') OR r.observatory = split_part(t.step, ':', 2))) seen ON true
        WHERE NOT o.simulated AND EXISTS (
          SELECT FROM configuration c WHERE c.step = t.step AND c.digest = t.digest AND c.current)"""

OLD = """
        SELECT coalesce(r.dataproduct_type, 'timeseries') AS dataproduct_type, 1 AS calib_level,
          coalesce(r.obs_collection, upper(r.observatory)) AS obs_collection,
          coalesce(r.obs_id, r.archive_id) AS obs_id,
          'ivo://virtualobserver/raw?' || r.id AS obs_publisher_did,
          f.path AS access_url, r.format AS access_format, (f.bytes + 999) / 1000 AS access_estsize,
          s.name AS target_name, coalesce(r.s_ra, s.ra) AS s_ra, coalesce(r.s_dec, s.dec) AS s_dec,
          r.s_fov, NULL::text AS s_region, NULL::float8 AS s_resolution, r.t_min, r.t_max, r.t_exptime,
          NULL::float8 AS t_resolution, r.em_min, r.em_max, NULL::float8 AS em_res_power, NULL::text AS o_ucd,
          NULL::text AS pol_states, upper(r.observatory) AS facility_name, upper(r.observatory) AS instrument_name
        FROM raw_data r
        JOIN file f ON f.id = r.file_id
        LEFT JOIN LATERAL (SELECT DISTINCT source_id FROM source_raw x WHERE x.raw_data_id = r.id) l ON true
        LEFT JOIN source s ON s.id = l.source_id
        WHERE NOT r.simulated
        UNION ALL
        SELECT CASE o.kind WHEN 'lightcurve' THEN 'timeseries' WHEN 'table' THEN 'measurements' ELSE o.kind END,
          CASE WHEN starts_with(t.step, 'reduce') THEN 2 ELSE 3 END, upper(split_part(t.step, ':', 2)),
          s.name || '/' || o.series, 'ivo://virtualobserver/product?' || o.id, f.path, 'application/x-hdf5',
          (f.bytes + 999) / 1000, s.name, s.ra, s.dec, NULL, NULL, NULL, o.t_min, o.t_max, o.exptime,
          o.cadence, NULL, NULL, NULL, CASE o.kind WHEN 'lightcurve' THEN 'phot.flux.density' END, NULL,
          upper(split_part(t.step, ':', 2)), upper(split_part(t.step, ':', 2))
        FROM product o
        JOIN task t ON t.id = o.task_id
        JOIN source s ON s.id = o.source_id
        LEFT JOIN file f ON f.id = o.file_id
        WHERE NOT o.simulated AND EXISTS (
          SELECT FROM configuration c WHERE c.step = t.step AND c.digest = t.digest AND c.current)"""


def upgrade() -> None:
    op.create_table(
        "place",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("root", sa.String(), nullable=False, comment="The data folder, absolute"),
        sa.CheckConstraint("id = 1", name=op.f("ck_place_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_place")),
        comment="Where the files are that paths lead to, as the program that opened them last sees it",
    )
    op.add_column("raw_data", sa.Column("facility_name", sa.String(), nullable=True, comment="Telescope"))
    op.add_column("raw_data", sa.Column("instrument_name", sa.String(), nullable=True, comment="Instrument"))
    op.execute(URI_PATH)
    op.execute(GRANTED)
    op.execute("DROP VIEW obscore")
    op.execute(f"CREATE VIEW obscore AS {NEW}")


def downgrade() -> None:
    op.execute("DROP VIEW obscore")
    op.execute("DROP FUNCTION uri_path(text)")
    op.drop_column("raw_data", "instrument_name")
    op.drop_column("raw_data", "facility_name")
    op.drop_table("place")
    op.execute(f"CREATE VIEW obscore AS {OLD}")
