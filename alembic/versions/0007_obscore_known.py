"""The view obscore tells what products and archives know: pixels, outline, exposure, wavelengths, resolution.

Revision 0007, after 0006; made 2026-11-29.
"""

import importlib.util
from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def _before() -> object:
    """Return revision 0004, whose view this one replaces, and puts back."""
    path = Path(__file__).with_name("0004_obscore.py")
    spec = importlib.util.spec_from_file_location("vo_0004_obscore", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OLD = _before()


def _said(row: str, name: str, kind: str = "float8") -> str:
    return f"({row}.obscore->>'{name}')::{kind}"


NEW = f"""
        WITH bands (band, em_min, em_max) AS (VALUES {OLD.BANDS})
        SELECT coalesce(r.dataproduct_type, w.usual)::text AS dataproduct_type, 1 AS calib_level,
          coalesce(r.obs_collection, upper(r.observatory))::text AS obs_collection,
          coalesce(r.obs_id, r.archive_id)::text AS obs_id,
          'ivo://virtualobserver/raw?' || r.id AS obs_publisher_did,
          coalesce({OLD.url_of("r.block")}, r.header->>'url') AS access_url,
          {OLD.MEDIA} AS access_format,
          ((f.bytes + 999) / 1000)::bigint AS access_estsize,
          coalesce(s.name, r.header->>'object')::text AS target_name,
          coalesce(r.s_ra, s.ra) AS s_ra, coalesce(r.s_dec, s.dec) AS s_dec,
          r.s_fov, {_said("r", "s_region", "text")} AS s_region, {_said("r", "s_resolution")} AS s_resolution,
          coalesce({_said("r", "s_xel1", "bigint")}, CASE WHEN coalesce(r.dataproduct_type, w.usual) IN ('timeseries', 'spectrum') THEN 1 END) AS s_xel1,
          coalesce({_said("r", "s_xel2", "bigint")}, CASE WHEN coalesce(r.dataproduct_type, w.usual) IN ('timeseries', 'spectrum') THEN 1 END) AS s_xel2,
          r.t_min, r.t_max, r.t_exptime,
          coalesce({_said("r", "t_resolution")},
            CASE WHEN r.dataproduct_type IN ('image', 'spectrum') THEN r.t_exptime END) AS t_resolution,
          coalesce({_said("r", "t_xel", "bigint")},
            CASE WHEN r.dataproduct_type IN ('image', 'spectrum') THEN 1
                 WHEN r.header->>'epochs' ~ '^[0-9]+$' THEN (r.header->>'epochs')::bigint END) AS t_xel,
          coalesce(r.em_min, b.em_min)::float8 AS em_min, coalesce(r.em_max, b.em_max)::float8 AS em_max,
          {_said("r", "em_res_power")} AS em_res_power,
          coalesce({_said("r", "em_xel", "bigint")},
            CASE WHEN r.dataproduct_type = 'image' THEN 1 ELSE nullif(b.number, 0) END) AS em_xel,
          coalesce({_said("r", "o_ucd", "text")}, CASE coalesce(r.dataproduct_type, w.usual) WHEN 'image' THEN 'phot.count'
            WHEN 'spectrum' THEN 'phot.flux.density;em.wl' WHEN 'timeseries' THEN 'phot' ELSE 'meta.record' END) AS o_ucd,
          NULL::text AS pol_states, 0::bigint AS pol_xel, r.facility_name::text AS facility_name,
          coalesce(r.instrument_name, upper(r.observatory))::text AS instrument_name
        FROM raw_data r
        JOIN file f ON f.id = r.file_id
        CROSS JOIN LATERAL (
          SELECT CASE WHEN r.t_min IS NULL THEN 'measurements' ELSE 'timeseries' END AS usual) w
        LEFT JOIN LATERAL (SELECT DISTINCT source_id FROM source_raw x WHERE x.raw_data_id = r.id) l ON true
        LEFT JOIN source s ON s.id = l.source_id
        LEFT JOIN LATERAL (
          SELECT min(em_min) AS em_min, max(em_max) AS em_max, count(*) AS number FROM bands
          WHERE jsonb_exists(r.header->'filters', band) OR band IN (r.header->>'filter', r.header->>'band')) b ON true
        WHERE NOT r.simulated
        UNION ALL
        SELECT CASE o.kind WHEN 'lightcurve' THEN 'timeseries' WHEN 'table' THEN 'measurements' ELSE o.kind END,
          CASE WHEN starts_with(t.step, 'reduce') OR starts_with(t.step, 'calibrate') THEN 2 ELSE 3 END,
          upper(split_part(t.step, ':', 2)),
          concat_ws('/', s.name, nullif(t.unit, ''), nullif(o.series, ''),
            CASE WHEN o.series = '' THEN o.role END),
          'ivo://virtualobserver/product?' || o.id, {OLD.url_of("o.block")}, {OLD.MEDIA},
          ((f.bytes + 999) / 1000)::bigint, s.name,
          coalesce({_said("o", "s_ra")}, s.ra), coalesce({_said("o", "s_dec")}, s.dec),
          coalesce({_said("o", "s_fov")}, mine.s_fov), {_said("o", "s_region", "text")}, {_said("o", "s_resolution")},
          coalesce({_said("o", "s_xel1", "bigint")}, CASE WHEN o.kind IN ('lightcurve', 'spectrum') THEN 1 END),
          coalesce({_said("o", "s_xel2", "bigint")}, CASE WHEN o.kind IN ('lightcurve', 'spectrum') THEN 1 END),
          coalesce({_said("o", "t_min")}, o.t_min - coalesce(o.exptime, 0) / 172800, mine.t_min),
          coalesce({_said("o", "t_max")}, o.t_max + coalesce(o.exptime, 0) / 172800, mine.t_max),
          coalesce({_said("o", "t_exptime")},
            o.exptime * CASE WHEN o.kind IN ('lightcurve', 'spectrum') THEN o.n ELSE 1 END, mine.t_exptime),
          coalesce({_said("o", "t_resolution")}, CASE o.kind WHEN 'lightcurve' THEN o.exptime END,
            CASE o.kind WHEN 'image' THEN mine.t_exptime END),
          CASE WHEN o.kind IN ('lightcurve', 'spectrum') THEN o.n::bigint WHEN o.kind = 'image' THEN 1 END,
          coalesce({_said("o", "em_min")}, b.em_min, mine.em_min, seen.em_min)::float8,
          coalesce({_said("o", "em_max")}, b.em_max, mine.em_max, seen.em_max)::float8,
          CASE o.kind WHEN 'spectrum' THEN coalesce(mine.em_res_power, seen.em_res_power) END,
          coalesce({_said("o", "em_xel", "bigint")}, CASE WHEN o.kind IN ('lightcurve', 'image') THEN 1 END),
          coalesce({_said("o", "o_ucd", "text")}, CASE o.kind WHEN 'lightcurve' THEN 'phot.flux.density'
            WHEN 'spectrum' THEN 'phot.flux.density;em.wl' WHEN 'image' THEN 'phot.count' ELSE 'meta.record' END),
          NULL, 0, coalesce(mine.facility, seen.facility),
          coalesce(mine.instrument, seen.instrument,
            CASE WHEN t.step !~ '^(analyse|simulate)' THEN upper(split_part(t.step, ':', 2)) END)
        FROM product o
        JOIN task t ON t.id = o.task_id
        JOIN source s ON s.id = o.source_id
        LEFT JOIN file f ON f.id = o.file_id
        LEFT JOIN bands b ON b.band = o.band AND o.kind <> 'spectrum'
        LEFT JOIN LATERAL (
          SELECT string_agg(DISTINCT r.facility_name, ';') AS facility,
            string_agg(DISTINCT r.instrument_name, ';') AS instrument, min(r.em_min) AS em_min, max(r.em_max) AS em_max,
            min(r.t_min) AS t_min, max(r.t_max) AS t_max, sum(r.t_exptime) AS t_exptime, max(r.s_fov) AS s_fov,
            min({_said("r", "em_res_power")}) AS em_res_power
          FROM task_input x JOIN raw_data r ON r.id = x.raw_data_id WHERE x.task_id = o.task_id) mine ON true
        LEFT JOIN LATERAL (
          SELECT string_agg(DISTINCT r.facility_name, ';') AS facility,
            string_agg(DISTINCT r.instrument_name, ';') AS instrument, min(r.em_min) AS em_min, max(r.em_max) AS em_max,
            min({_said("r", "em_res_power")}) AS em_res_power
          FROM source_raw x JOIN raw_data r ON r.id = x.raw_data_id
          WHERE mine.facility IS NULL AND x.source_id = t.source_id
            AND (NOT starts_with(t.step, 'reduce:') OR r.observatory = split_part(t.step, ':', 2))) seen ON true
        WHERE NOT o.simulated AND EXISTS (
          SELECT FROM configuration c WHERE c.step = t.step AND c.digest = t.digest AND c.current)"""

_COMMENTS = {
    "product": "ObsCore columns that the product itself tells",
    "raw_data": "Further ObsCore columns that are known",
}


def upgrade() -> None:
    """Add the columns, empty for what was made before, and make the view anew."""
    op.execute("DROP VIEW obscore")
    for table, comment in _COMMENTS.items():
        column = sa.Column(
            "obscore", postgresql.JSONB(), server_default="{}", nullable=False, comment=comment
        )
        op.add_column(table, column)
    op.execute(f"CREATE VIEW obscore AS {NEW}")


def downgrade() -> None:
    op.execute("DROP VIEW obscore")
    for table in _COMMENTS:
        op.drop_column(table, "obscore")
    op.execute(f"CREATE VIEW obscore AS {OLD.NEW}")
