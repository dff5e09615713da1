"""The first schema: tables and views.

Revision 0001, made 2026-11-21.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


VIEWS = {
    "project_source": """
        SELECT m.project_id, m.source_id, 'target' AS part FROM membership m
        UNION ALL
        SELECT m.project_id, s.id, 'found' FROM source s JOIN membership m ON m.source_id = s.parent_id
        WHERE NOT EXISTS (
          SELECT FROM membership o WHERE o.project_id = m.project_id AND o.source_id = s.id)
        UNION ALL
        SELECT p.id, s.id, 'camera' FROM project p, source s
        WHERE s.kind = 'instrument' AND EXISTS (
          SELECT FROM source_raw r JOIN task f ON f.id = r.task_id
          JOIN membership m ON m.source_id = f.source_id AND m.project_id = p.id
          WHERE r.source_id = s.id)""",
    "detections_all": """
        SELECT d.id, p.name AS project, s.name AS source, s.kind AS source_kind, d.analysis, d.kind, d.band,
          d.start_mjd, d.peak_mjd, d.end_mjd, d.snr, d.score, d.quality, d.ra, d.dec, d.parameters, d.event,
          d.simulated, d.injection_id, c.current, t.digest, d.source_id, d.task_id, d.product_id
        FROM detection d
        JOIN task t ON t.id = d.task_id
        JOIN configuration c ON c.step = t.step AND c.digest = t.digest
        JOIN project p ON p.id = c.project_id
        JOIN project_source m ON m.project_id = p.id AND m.source_id = t.source_id
        JOIN source s ON s.id = d.source_id""",
    "detections": "SELECT * FROM detections_all WHERE current AND NOT simulated",
    "lightcurves": """
        SELECT l.id, p.name AS project, s.name AS source, t.step, l.role, l.series, l.band, l.n, l.n_good,
          l.t_min, l.t_max, l.flux_unit, l.exptime, l.cadence, l.flux_mean, l.flux_rms, l.flux_mean_robust,
          l.flux_rms_robust, l.flux_min, l.flux_max, l.flux_median, l.snr_min, l.snr_max, l.dsnr_min, l.dsnr_max,
          l.mag_mean, l.mag_brightest, l.mag_faintest, l.statistics, t.digest, l.source_id, l.task_id, l.file_id
        FROM product l
        JOIN task t ON t.id = l.task_id
        JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
        JOIN project p ON p.id = c.project_id
        JOIN project_source m ON m.project_id = p.id AND m.source_id = t.source_id
        JOIN source s ON s.id = l.source_id
        WHERE l.kind = 'lightcurve' AND NOT l.simulated""",
    "efficiency": """
        SELECT p.name AS project, replace(t.step, 'simulate:', '') AS analysis, i.kind, count(*) AS injected,
          count(*) FILTER (WHERE i.found) AS found, avg(i.found::int::float8) AS efficiency,
          avg(i.amplitude) AS amplitude_mean, avg(i.width) AS width_mean
        FROM injection i
        JOIN task t ON t.id = i.task_id
        JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
        JOIN project p ON p.id = c.project_id
        JOIN project_source m ON m.project_id = p.id AND m.source_id = t.source_id
        GROUP BY p.name, t.step, i.kind""",
    "progress": """
        SELECT p.name AS project, t.step, t.status, count(*) AS tasks, min(t.finished) AS first_finished,
          max(t.finished) AS last_finished, sum(t.seconds) AS seconds
        FROM task t
        JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
        JOIN project p ON p.id = c.project_id
        JOIN project_source m ON m.project_id = p.id AND m.source_id = t.source_id
        GROUP BY p.name, t.step, t.status""",
    "obscore": """
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
          SELECT FROM configuration c WHERE c.step = t.step AND c.digest = t.digest AND c.current)""",
}


def upgrade() -> None:
    op.create_table(
        "archive_job",
        sa.Column("observatory", sa.String(), nullable=False),
        sa.Column("job", sa.String(), nullable=False, comment="The question, in the survey's own words"),
        sa.Column(
            "facts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="State and what the archive said; no secrets",
        ),
        sa.Column("changed", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("observatory", "job", name=op.f("pk_archive_job")),
        comment="Requests that archives keep in a queue: submitted, listed, collected",
    )
    op.create_table(
        "catalog",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(), nullable=False, comment="Name of the list"),
        sa.Column(
            "origin",
            sa.String(),
            server_default="",
            nullable=False,
            comment="File, query or table it came from",
        ),
        sa.Column("checksum", sa.String(), nullable=False, comment="SHA-256 of its content"),
        sa.Column("n_rows", sa.BigInteger(), nullable=False, comment="Number of targets"),
        sa.Column("meta", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("imported", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog")),
        sa.UniqueConstraint("name", "checksum", name=op.f("uq_catalog_name_checksum")),
        comment="Imported target lists",
    )
    op.create_table(
        "file",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "path", sa.String(), nullable=True, comment="Relative to the data folder; absolute if external"
        ),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("external", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("mtime", sa.Float(), nullable=True, comment="Modification time of an external file [s]"),
        sa.Column("damaged", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_file")),
        sa.UniqueConstraint("path", name=op.f("uq_file_path")),
        comment="Files; a NULL path was dropped and can be made again",
    )
    op.create_index("ix_file_sha256", "file", ["sha256"], unique=False)
    op.create_table(
        "rate_slot",
        sa.Column("host", sa.String(), nullable=False, comment="Name and port as in the address"),
        sa.Column(
            "next_free",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the next request may begin",
        ),
        sa.Column(
            "blocked",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Until when the host wants to be left alone",
        ),
        sa.PrimaryKeyConstraint("host", name=op.f("pk_rate_slot")),
        comment="Next free turn at each archive host, for all workers",
    )
    op.create_table(
        "project",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.String(), nullable=False, comment="Unique name"),
        sa.Column("description", sa.String(), server_default="", nullable=False, comment="Free text"),
        sa.Column(
            "created",
            sa.DateTime(timezone=True),
            server_default=sa.text("now()"),
            nullable=False,
            comment="When the row was made (UTC)",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_project")),
        sa.UniqueConstraint("name", name=op.f("uq_project_name")),
        comment="One search, described by one YAML file",
    )
    op.create_table(
        "source",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column(
            "kind",
            sa.String(),
            server_default="object",
            nullable=False,
            comment="object, field, moving or instrument",
        ),
        sa.Column(
            "namespace",
            sa.String(),
            nullable=False,
            comment="Authority (gaia_dr3), catalogue, or digest for discoveries",
        ),
        sa.Column("name", sa.String(), nullable=False, comment="Name, unique in its namespace"),
        sa.Column("aliases", postgresql.ARRAY(sa.TEXT()), server_default="{}", nullable=False),
        sa.Column("ra", sa.Float(), nullable=True, comment="ICRS right ascension at epoch [deg]"),
        sa.Column("dec", sa.Float(), nullable=True, comment="ICRS declination at epoch [deg]"),
        sa.Column(
            "epoch",
            sa.Float(),
            server_default="2000",
            nullable=False,
            comment="Epoch of the position [Julian year]",
        ),
        sa.Column("pmra", sa.Float(), nullable=True, comment="Proper motion in RA times cos(dec) [mas/yr]"),
        sa.Column("pmdec", sa.Float(), nullable=True, comment="Proper motion in declination [mas/yr]"),
        sa.Column("parallax", sa.Float(), nullable=True, comment="Parallax [mas]"),
        sa.Column("mag", sa.Float(), nullable=True, comment="Catalogue magnitude"),
        sa.Column("mag_error", sa.Float(), nullable=True),
        sa.Column("mag_band", sa.String(), server_default="", nullable=False),
        sa.Column("hpx", sa.BigInteger(), nullable=True, comment="HEALPix nested index of order 29"),
        sa.Column(
            "extra",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Further catalogue columns the project keeps",
        ),
        sa.Column(
            "row_sha",
            sa.String(),
            server_default="",
            nullable=False,
            comment="SHA-256 of what steps see of this row",
        ),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column("same_as_id", sa.BigInteger(), nullable=True),
        sa.Column("simulated", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind in ('object', 'field', 'moving', 'instrument')", name=op.f("ck_source_kind")
        ),
        sa.CheckConstraint("dec between -90 and 90", name=op.f("ck_source_dec")),
        sa.CheckConstraint("ra >= 0 and ra < 360", name=op.f("ck_source_ra")),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["source.id"], name=op.f("fk_source_parent_id_source"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["same_as_id"], ["source.id"], name=op.f("fk_source_same_as_id_source"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
        sa.UniqueConstraint("namespace", "name", name=op.f("uq_source_namespace_name")),
        comment="Everything that has data: stars, fields, moving objects, cameras",
    )
    op.create_index("ix_source_aliases", "source", ["aliases"], unique=False, postgresql_using="gin")
    op.create_index("ix_source_hpx", "source", ["hpx"], unique=False)
    op.create_index("ix_source_name", "source", ["name"], unique=False)
    op.create_index(
        "ix_source_parent_id",
        "source",
        ["parent_id"],
        unique=False,
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index(
        "ix_source_same_as_id",
        "source",
        ["same_as_id"],
        unique=False,
        postgresql_where=sa.text("same_as_id IS NOT NULL"),
    )
    op.create_table(
        "configuration",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "step", sa.String(), nullable=False, comment="fetch:ztf, reduce:ztf, analyse:transients, ..."
        ),
        sa.Column(
            "digest",
            sa.String(),
            nullable=False,
            comment="SHA-256 of the settings that matter and the steps before",
        ),
        sa.Column(
            "settings",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Resolved settings, no secrets",
        ),
        sa.Column(
            "current", sa.Boolean(), server_default="true", nullable=False, comment="Used by the latest run"
        ),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_id"],
            ["project.id"],
            name=op.f("fk_configuration_project_id_project"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_configuration")),
        sa.UniqueConstraint(
            "project_id", "step", "digest", name=op.f("uq_configuration_project_id_step_digest")
        ),
        comment="Settings of one step of one project; exactly one per step is current",
    )
    op.create_index("ix_configuration_step_digest", "configuration", ["step", "digest"], unique=False)
    op.create_index(
        "uq_configuration_current",
        "configuration",
        ["project_id", "step"],
        unique=True,
        postgresql_where=sa.text("current"),
    )
    op.create_table(
        "membership",
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("catalog_id", sa.BigInteger(), nullable=True),
        sa.Column("number", sa.BigInteger(), nullable=False, comment="Row number in the catalogue"),
        sa.Column("mag", sa.Float(), nullable=True, comment="Magnitude used for selection"),
        sa.Column(
            "row",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="The catalogue row as imported",
        ),
        sa.ForeignKeyConstraint(
            ["catalog_id"], ["catalog.id"], name=op.f("fk_membership_catalog_id_catalog"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_membership_project_id_project"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_membership_source_id_source"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_id", "source_id", name=op.f("pk_membership")),
        comment="Which sources a project looks at",
    )
    op.create_index("ix_membership_catalog_id", "membership", ["catalog_id"], unique=False)
    op.create_index("ix_membership_source_id", "membership", ["source_id"], unique=False)
    op.create_table(
        "raw_data",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("observatory", sa.String(), nullable=False),
        sa.Column("origin", sa.String(), nullable=False, comment="live, folder or simulated"),
        sa.Column("archive_id", sa.String(), nullable=False, comment="Identity in the archive, or the query"),
        sa.Column(
            "key", sa.String(), server_default="", nullable=False, comment="Part of an external bulk file"
        ),
        sa.Column(
            "block",
            sa.String(),
            server_default="",
            nullable=False,
            comment="Dataset in the file of the store",
        ),
        sa.Column("sha256", sa.String(), nullable=False, comment="SHA-256 of the bytes"),
        sa.Column("file_id", sa.BigInteger(), nullable=False),
        sa.Column("format", sa.String(), nullable=False),
        sa.Column("simulated", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("obs_id", sa.String(), nullable=True),
        sa.Column("obs_collection", sa.String(), nullable=True),
        sa.Column("dataproduct_type", sa.String(), nullable=True),
        sa.Column("s_ra", sa.Float(), nullable=True, comment="[deg]"),
        sa.Column("s_dec", sa.Float(), nullable=True, comment="[deg]"),
        sa.Column("s_fov", sa.Float(), nullable=True, comment="[deg]"),
        sa.Column("t_min", sa.Float(), nullable=True, comment="[d], MJD"),
        sa.Column("t_max", sa.Float(), nullable=True, comment="[d], MJD"),
        sa.Column("t_exptime", sa.Float(), nullable=True, comment="[s]"),
        sa.Column("em_min", sa.Float(), nullable=True, comment="[m]"),
        sa.Column("em_max", sa.Float(), nullable=True, comment="[m]"),
        sa.Column("hpx", sa.BigInteger(), nullable=True),
        sa.Column(
            "header",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Extract of header or answer",
        ),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("origin in ('live', 'folder', 'simulated')", name=op.f("ck_raw_data_origin")),
        sa.ForeignKeyConstraint(
            ["file_id"], ["file.id"], name=op.f("fk_raw_data_file_id_file"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_raw_data")),
        sa.UniqueConstraint(
            "observatory",
            "origin",
            "archive_id",
            "key",
            "sha256",
            name=op.f("uq_raw_data_observatory_origin_archive_id_key_sha256"),
        ),
        comment="Raw data with their ObsCore columns",
    )
    op.create_index("ix_raw_data_file_id", "raw_data", ["file_id"], unique=False)
    op.create_index("ix_raw_data_hpx", "raw_data", ["hpx"], unique=False)
    op.create_table(
        "run",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("project_id", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.String(), nullable=False, comment="Version of virtualobserver"),
        sa.Column("commit", sa.String(), nullable=True, comment="Commit of the source tree, if it is one"),
        sa.Column("dirty", sa.Boolean(), nullable=True, comment="Whether that tree had uncommitted changes"),
        sa.Column(
            "packages",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Versions of the packages used",
        ),
        sa.Column("host", sa.String(), server_default="", nullable=False),
        sa.Column("started", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.Column(
            "counts",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Tasks by step and status",
        ),
        sa.ForeignKeyConstraint(
            ["project_id"], ["project.id"], name=op.f("fk_run_project_id_project"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        comment="Runs of projects",
    )
    op.create_index("ix_run_project_id", "run", ["project_id"], unique=False)
    op.create_table(
        "task",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=True),
        sa.Column("step", sa.String(), nullable=False),
        sa.Column("unit", sa.String(), server_default="", nullable=False),
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("status", sa.String(), server_default="pending", nullable=False),
        sa.Column("attempts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "deaths", sa.BigInteger(), server_default="0", nullable=False, comment="Workers that died on it"
        ),
        sa.Column("worker", sa.String(), nullable=True, comment="Who works on it"),
        sa.Column(
            "lease", sa.DateTime(timezone=True), nullable=True, comment="Until when the worker may be silent"
        ),
        sa.Column("inputs", sa.String(), nullable=True, comment="SHA-256 of everything it was made from"),
        sa.Column(
            "extent", sa.BigInteger(), server_default="0", nullable=False, comment="Injections made so far"
        ),
        sa.Column("seconds", sa.Float(), nullable=True),
        sa.Column("error_kind", sa.String(), nullable=True, comment="retryable, permanent or no data"),
        sa.Column("error", sa.String(), nullable=True, comment="Class and message"),
        sa.Column("traceback", sa.String(), nullable=True),
        sa.Column("run_id", sa.BigInteger(), nullable=True),
        sa.Column("finished", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "status in ('pending', 'running', 'done', 'empty', 'failed', 'stale')",
            name=op.f("ck_task_status"),
        ),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_task_run_id_run"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_task_source_id_source"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
        sa.UniqueConstraint(
            "source_id",
            "step",
            "unit",
            "digest",
            name=op.f("uq_task_source_id_step_unit_digest"),
            postgresql_nulls_not_distinct=True,
        ),
        comment="Source x step x unit x digest; what is done is not done again",
    )
    op.create_index("ix_task_run_id", "task", ["run_id"], unique=False)
    op.create_index("ix_task_running", "task", ["lease"], unique=False, postgresql_where="status = 'running'")
    op.create_index("ix_task_step_digest_status", "task", ["step", "digest", "status"], unique=False)
    op.create_table(
        "histogram_part",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("simulated", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("counts", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["task_id"], ["task.id"], name=op.f("fk_histogram_part_task_id_task"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_histogram_part")),
        sa.UniqueConstraint("task_id", "name", name=op.f("uq_histogram_part_task_id_name")),
        comment="Sparse histogram counts by task",
    )
    op.create_table(
        "injection",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column(
            "kind", sa.String(), server_default="", nullable=False, comment="Shape or class of the event"
        ),
        sa.Column("amplitude", sa.Float(), nullable=True, comment="In units of the analysis"),
        sa.Column("width", sa.Float(), nullable=True, comment="Duration [d]"),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("found", sa.Boolean(), nullable=False),
        sa.Column("found_snr", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_injection_source_id_source"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["task.id"], name=op.f("fk_injection_task_id_task"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_injection")),
        sa.UniqueConstraint("task_id", "number", name=op.f("uq_injection_task_id_number")),
        comment="Injected events and their recovery",
    )
    op.create_index("ix_injection_source_id", "injection", ["source_id"], unique=False)
    op.create_table(
        "product",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("kind", sa.String(), nullable=False, comment="lightcurve, spectrum, image or table"),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("role", sa.String(), nullable=False, comment="reduced, processed, master, mover, ..."),
        sa.Column("series", sa.String(), server_default="", nullable=False),
        sa.Column("band", sa.String(), server_default="", nullable=False),
        sa.Column("file_id", sa.BigInteger(), nullable=True),
        sa.Column("block", sa.String(), server_default="", nullable=False, comment="Dataset in the file"),
        sa.Column("checksum", sa.String(), nullable=False, comment="SHA-256 of the content"),
        sa.Column("simulated", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("n", sa.BigInteger(), server_default="0", nullable=False, comment="Epochs, rows or pixels"),
        sa.Column("t_min", sa.Float(), nullable=True, comment="First mid-exposure [d], MJD UTC"),
        sa.Column("t_max", sa.Float(), nullable=True, comment="Last mid-exposure [d], MJD UTC"),
        sa.Column("flux_unit", sa.String(), server_default="", nullable=False),
        sa.Column(
            "n_good", sa.BigInteger(), nullable=True, comment="Epochs without flags and with finite flux"
        ),
        sa.Column("exptime", sa.Float(), nullable=True, comment="Median exposure time [s]"),
        sa.Column("cadence", sa.Float(), nullable=True, comment="Median time between epochs [s]"),
        sa.Column("flux_mean", sa.Float(), nullable=True),
        sa.Column("flux_rms", sa.Float(), nullable=True),
        sa.Column("flux_mean_robust", sa.Float(), nullable=True),
        sa.Column("flux_rms_robust", sa.Float(), nullable=True),
        sa.Column("flux_min", sa.Float(), nullable=True),
        sa.Column("flux_max", sa.Float(), nullable=True),
        sa.Column("flux_median", sa.Float(), nullable=True),
        sa.Column("snr_min", sa.Float(), nullable=True),
        sa.Column("snr_max", sa.Float(), nullable=True),
        sa.Column("dsnr_min", sa.Float(), nullable=True),
        sa.Column("dsnr_max", sa.Float(), nullable=True),
        sa.Column("mag_mean", sa.Float(), nullable=True),
        sa.Column("mag_brightest", sa.Float(), nullable=True),
        sa.Column("mag_faintest", sa.Float(), nullable=True),
        sa.Column(
            "statistics",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="Further summary numbers",
        ),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint(
            "kind in ('lightcurve', 'spectrum', 'image', 'table')", name=op.f("ck_product_kind")
        ),
        sa.ForeignKeyConstraint(
            ["file_id"], ["file.id"], name=op.f("fk_product_file_id_file"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_product_source_id_source"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["task.id"], name=op.f("fk_product_task_id_task"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product")),
        sa.UniqueConstraint(
            "source_id", "task_id", "role", "series", name=op.f("uq_product_source_id_task_id_role_series")
        ),
        comment="Light curves, spectra, images and tables made from raw data",
    )
    op.create_index("ix_product_file_id", "product", ["file_id"], unique=False)
    op.create_index("ix_product_task_id", "product", ["task_id"], unique=False)
    op.create_table(
        "properties",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("analysis", sa.String(), nullable=False),
        sa.Column("simulated", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("props", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_properties_source_id_source"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["task.id"], name=op.f("fk_properties_task_id_task"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_properties")),
        sa.UniqueConstraint("source_id", "task_id", name=op.f("uq_properties_source_id_task_id")),
        comment="Best S/N, counts and other numbers by source and analysis",
    )
    op.create_index("ix_properties_task_id", "properties", ["task_id"], unique=False)
    op.create_table(
        "source_raw",
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("raw_data_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "unit",
            sa.String(),
            server_default="",
            nullable=False,
            comment="Unit it belongs to, as the survey says",
        ),
        sa.ForeignKeyConstraint(
            ["raw_data_id"],
            ["raw_data.id"],
            name=op.f("fk_source_raw_raw_data_id_raw_data"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_source_raw_source_id_source"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["task.id"], name=op.f("fk_source_raw_task_id_task"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("source_id", "raw_data_id", "task_id", name=op.f("pk_source_raw")),
        comment="Raw data by source and fetch task; one piece may serve many sources",
    )
    op.create_index("ix_source_raw_raw_data_id", "source_raw", ["raw_data_id"], unique=False)
    op.create_index("ix_source_raw_task_id", "source_raw", ["task_id"], unique=False)
    op.create_table(
        "detection",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("source_id", sa.BigInteger(), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("product_id", sa.BigInteger(), nullable=True),
        sa.Column("injection_id", sa.BigInteger(), nullable=True),
        sa.Column("event", sa.BigInteger(), nullable=False, comment="Number of the event in its task"),
        sa.Column("analysis", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False, comment="flare, dip, ..."),
        sa.Column("start_mjd", sa.Float(), nullable=False, comment="[d], MJD UTC, mid-exposure"),
        sa.Column("peak_mjd", sa.Float(), nullable=False, comment="[d], MJD UTC, mid-exposure"),
        sa.Column("end_mjd", sa.Float(), nullable=False, comment="[d], MJD UTC, mid-exposure"),
        sa.Column("ra", sa.Float(), nullable=True, comment="[deg], ICRS"),
        sa.Column("dec", sa.Float(), nullable=True, comment="[deg], ICRS"),
        sa.Column("band", sa.String(), server_default="", nullable=False),
        sa.Column("snr", sa.Float(), nullable=False, comment="Signed signal-to-noise ratio at the peak"),
        sa.Column("score", sa.Float(), nullable=True),
        sa.Column(
            "quality", sa.BigInteger(), server_default="0", nullable=False, comment="Quality bits, 0 = good"
        ),
        sa.Column("parameters", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("simulated", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("peak_mjd <> 'NaN'", name=op.f("ck_detection_peak_mjd")),
        sa.CheckConstraint("score is null or score <> 'NaN'", name=op.f("ck_detection_score")),
        sa.CheckConstraint("snr <> 'NaN'", name=op.f("ck_detection_snr")),
        sa.ForeignKeyConstraint(
            ["injection_id"],
            ["injection.id"],
            name=op.f("fk_detection_injection_id_injection"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name=op.f("fk_detection_product_id_product"), ondelete="SET NULL"
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_detection_source_id_source"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["task.id"], name=op.f("fk_detection_task_id_task"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_detection")),
        sa.UniqueConstraint(
            "source_id",
            "task_id",
            "injection_id",
            "event",
            name=op.f("uq_detection_source_id_task_id_injection_id_event"),
            postgresql_nulls_not_distinct=True,
        ),
        comment="Events found by analyses, real and simulated",
    )
    op.create_index("ix_detection_analysis_snr", "detection", ["analysis", "snr"], unique=False)
    op.create_index("ix_detection_injection_id", "detection", ["injection_id"], unique=False)
    op.create_index("ix_detection_peak_mjd", "detection", ["peak_mjd"], unique=False)
    op.create_index("ix_detection_product_id", "detection", ["product_id"], unique=False)
    op.create_index("ix_detection_task_id", "detection", ["task_id"], unique=False)
    op.create_table(
        "task_input",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("task_id", sa.BigInteger(), nullable=False),
        sa.Column("raw_data_id", sa.BigInteger(), nullable=True),
        sa.Column("product_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("num_nonnulls(raw_data_id, product_id) = 1", name=op.f("ck_task_input_one")),
        sa.ForeignKeyConstraint(
            ["product_id"], ["product.id"], name=op.f("fk_task_input_product_id_product"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["raw_data_id"],
            ["raw_data.id"],
            name=op.f("fk_task_input_raw_data_id_raw_data"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["task_id"], ["task.id"], name=op.f("fk_task_input_task_id_task"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_input")),
        sa.UniqueConstraint(
            "task_id",
            "raw_data_id",
            "product_id",
            name=op.f("uq_task_input_task_id_raw_data_id_product_id"),
            postgresql_nulls_not_distinct=True,
        ),
        comment="Lineage: raw data and products used by a task",
    )
    op.create_index("ix_task_input_product_id", "task_input", ["product_id"], unique=False)
    op.create_index("ix_task_input_raw_data_id", "task_input", ["raw_data_id"], unique=False)
    op.create_table(
        "classification",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("detection_id", sa.BigInteger(), nullable=True),
        sa.Column("source_id", sa.BigInteger(), nullable=True),
        sa.Column("label", sa.String(), nullable=False),
        sa.Column("user", sa.String(), server_default="", nullable=False),
        sa.Column("note", sa.String(), server_default="", nullable=False),
        sa.Column("digest", sa.String(), server_default="", nullable=False),
        sa.Column("source_name", sa.String(), nullable=False),
        sa.Column("analysis", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), server_default="", nullable=False),
        sa.Column("start_mjd", sa.Float(), nullable=True),
        sa.Column("end_mjd", sa.Float(), nullable=True),
        sa.Column("ra", sa.Float(), nullable=True),
        sa.Column("dec", sa.Float(), nullable=True),
        sa.Column("created", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["detection_id"],
            ["detection.id"],
            name=op.f("fk_classification_detection_id_detection"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["source.id"], name=op.f("fk_classification_source_id_source"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_classification")),
        comment="Verdicts of people on detections",
    )
    op.create_index(
        "ix_classification_analysis_source_name", "classification", ["analysis", "source_name"], unique=False
    )
    op.create_index("ix_classification_detection_id", "classification", ["detection_id"], unique=False)
    op.create_index("ix_classification_source_id", "classification", ["source_id"], unique=False)
    for name, query in VIEWS.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def downgrade() -> None:
    for name in reversed(VIEWS):
        op.execute(f"DROP VIEW {name}")
    op.drop_index("ix_classification_source_id", table_name="classification")
    op.drop_index("ix_classification_detection_id", table_name="classification")
    op.drop_index("ix_classification_analysis_source_name", table_name="classification")
    op.drop_table("classification")
    op.drop_index("ix_task_input_raw_data_id", table_name="task_input")
    op.drop_index("ix_task_input_product_id", table_name="task_input")
    op.drop_table("task_input")
    op.drop_index("ix_detection_task_id", table_name="detection")
    op.drop_index("ix_detection_product_id", table_name="detection")
    op.drop_index("ix_detection_peak_mjd", table_name="detection")
    op.drop_index("ix_detection_injection_id", table_name="detection")
    op.drop_index("ix_detection_analysis_snr", table_name="detection")
    op.drop_table("detection")
    op.drop_index("ix_source_raw_task_id", table_name="source_raw")
    op.drop_index("ix_source_raw_raw_data_id", table_name="source_raw")
    op.drop_table("source_raw")
    op.drop_index("ix_properties_task_id", table_name="properties")
    op.drop_table("properties")
    op.drop_index("ix_product_task_id", table_name="product")
    op.drop_index("ix_product_file_id", table_name="product")
    op.drop_table("product")
    op.drop_index("ix_injection_source_id", table_name="injection")
    op.drop_table("injection")
    op.drop_table("histogram_part")
    op.drop_index("ix_task_step_digest_status", table_name="task")
    op.drop_index("ix_task_running", table_name="task", postgresql_where="status = 'running'")
    op.drop_index("ix_task_run_id", table_name="task")
    op.drop_table("task")
    op.drop_index("ix_run_project_id", table_name="run")
    op.drop_table("run")
    op.drop_index("ix_raw_data_hpx", table_name="raw_data")
    op.drop_index("ix_raw_data_file_id", table_name="raw_data")
    op.drop_table("raw_data")
    op.drop_index("ix_membership_source_id", table_name="membership")
    op.drop_index("ix_membership_catalog_id", table_name="membership")
    op.drop_table("membership")
    op.drop_index("uq_configuration_current", table_name="configuration", postgresql_where=sa.text("current"))
    op.drop_index("ix_configuration_step_digest", table_name="configuration")
    op.drop_table("configuration")
    op.drop_index(
        "ix_source_same_as_id", table_name="source", postgresql_where=sa.text("same_as_id IS NOT NULL")
    )
    op.drop_index(
        "ix_source_parent_id", table_name="source", postgresql_where=sa.text("parent_id IS NOT NULL")
    )
    op.drop_index("ix_source_name", table_name="source")
    op.drop_index("ix_source_hpx", table_name="source")
    op.drop_index("ix_source_aliases", table_name="source", postgresql_using="gin")
    op.drop_table("source")
    op.drop_table("project")
    op.drop_table("rate_slot")
    op.drop_index("ix_file_sha256", table_name="file")
    op.drop_table("file")
    op.drop_table("catalog")
    op.drop_table("archive_job")
