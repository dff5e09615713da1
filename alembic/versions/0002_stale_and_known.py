"""What hangs on changed or damaged data is marked; what a discovered source was found to be is shown.

Revision 0002, after 0001; made 2026-11-28.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OLD = {
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
}

# What was done and has to be done again, what was made from a damaged file, and all that was made from these.
STALE_TASK = """
        WITH RECURSIVE hit(task_id) AS (
          SELECT id FROM task WHERE finished IS NOT NULL AND status NOT IN ('done', 'empty')
          UNION
          SELECT i.task_id FROM file f JOIN raw_data d ON d.file_id = f.id
            JOIN task_input i ON i.raw_data_id = d.id WHERE f.damaged
          UNION
          SELECT i.task_id FROM file f JOIN product p ON p.file_id = f.id
            JOIN task_input i ON i.product_id = p.id WHERE f.damaged
          UNION
          SELECT i.task_id FROM hit h JOIN product p ON p.task_id = h.task_id
            JOIN task_input i ON i.product_id = p.id)
        SELECT task_id FROM hit"""

NEW = {
    "stale_task": STALE_TASK,
    "detections_all": """
        SELECT d.id, p.name AS project, s.name AS source, s.kind AS source_kind, k.name AS known_as, d.analysis,
          d.kind, d.band, d.start_mjd, d.peak_mjd, d.end_mjd, d.snr, d.score, d.quality, d.ra, d.dec, d.parameters,
          d.event, d.simulated, d.injection_id, c.current, d.task_id IN (SELECT task_id FROM stale_task) AS stale,
          t.digest, d.source_id, d.task_id, d.product_id
        FROM detection d
        JOIN task t ON t.id = d.task_id
        JOIN configuration c ON c.step = t.step AND c.digest = t.digest
        JOIN project p ON p.id = c.project_id
        JOIN project_source m ON m.project_id = p.id AND m.source_id = t.source_id
        JOIN source s ON s.id = d.source_id
        LEFT JOIN source k ON k.id = s.same_as_id""",
    "detections": "SELECT * FROM detections_all WHERE current AND NOT simulated",
    "lightcurves": """
        SELECT l.id, p.name AS project, s.name AS source, t.step, l.role, l.series, l.band, l.n, l.n_good,
          l.t_min, l.t_max, l.flux_unit, l.exptime, l.cadence, l.flux_mean, l.flux_rms, l.flux_mean_robust,
          l.flux_rms_robust, l.flux_min, l.flux_max, l.flux_median, l.snr_min, l.snr_max, l.dsnr_min, l.dsnr_max,
          l.mag_mean, l.mag_brightest, l.mag_faintest, l.statistics,
          coalesce(f.damaged, false) OR l.task_id IN (SELECT task_id FROM stale_task) AS stale,
          t.digest, l.source_id, l.task_id, l.file_id
        FROM product l
        JOIN task t ON t.id = l.task_id
        JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
        JOIN project p ON p.id = c.project_id
        JOIN project_source m ON m.project_id = p.id AND m.source_id = t.source_id
        JOIN source s ON s.id = l.source_id
        LEFT JOIN file f ON f.id = l.file_id
        WHERE l.kind = 'lightcurve' AND NOT l.simulated""",
}


def _replace(before: dict[str, str], after: dict[str, str]) -> None:
    for name in reversed(before):
        op.execute(f"DROP VIEW {name}")
    for name, query in after.items():
        op.execute(f"CREATE VIEW {name} AS {query}")


def upgrade() -> None:
    op.create_index("ix_file_damaged", "file", ["id"], postgresql_where=sa.text("damaged"))
    op.create_index(
        "ix_task_to_redo",
        "task",
        ["id"],
        postgresql_where=sa.text("finished IS NOT NULL AND status NOT IN ('done', 'empty')"),
    )
    _replace(OLD, NEW)


def downgrade() -> None:
    _replace(NEW, OLD)
    op.drop_index("ix_task_to_redo", table_name="task")
    op.drop_index("ix_file_damaged", table_name="file")
