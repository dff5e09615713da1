"""An injection says whether the data cover it; the view efficiency tells coverage from search, by kind and bin.

Revision 0006, after 0005; made 2026-11-29.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_COVERED = "Whether the data have anything of the event; null where that was not recorded"
_COMMENTS = {
    "kind": ("Shape or class of the event", "Class of the event: flare, dip, comet, mover, ..."),
    "width": ("Duration [d]", "Duration or width, in units of the analysis"),
}
_TYPES = {"kind": sa.String(), "width": sa.Float()}

# As it was from the first revision on.
OLD = """
        SELECT p.name AS project, replace(t.step, 'simulate:', '') AS analysis, i.kind, count(*) AS injected,
          count(*) FILTER (WHERE i.found) AS found, avg(i.found::int::float8) AS efficiency,
          avg(i.amplitude) AS amplitude_mean, avg(i.width) AS width_mean
        FROM injection i
        JOIN task t ON t.id = i.task_id
        JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
        JOIN project p ON p.id = c.project_id
        JOIN project_source m ON m.project_id = p.id AND m.source_id = t.source_id
        GROUP BY p.name, t.step, i.kind"""


def _share(hits: str, tries: str, name: str, low: str, high: str) -> str:
    """Return hits over tries and the ends of Wilson's interval of one standard deviation (1927), 0 to 1 without tries."""
    half = f"sqrt({hits}::float8 * ({tries} - {hits}) / nullif({tries}, 0) + 0.25)"
    return f"""{hits}::float8 / nullif({tries}, 0) AS {name},
          CASE WHEN {hits} = 0 THEN 0 ELSE ({hits} + 0.5 - {half}) / ({tries} + 1) END AS {low},
          CASE WHEN {hits} = {tries} THEN 1 ELSE ({hits} + 0.5 + {half}) / ({tries} + 1) END AS {high}"""


def _view(cells: str, bins: str) -> str:
    """Return the text of a view of injections by project, analysis, kind and further `cells`."""
    return f"""
        SELECT project, analysis, kind, {bins} injected, covered, found,
          {_share("covered", "known", "coverage", "coverage_low", "coverage_high")},
          {_share("seen", "covered", "search", "search_low", "search_high")},
          {_share("found", "injected", "efficiency", "low", "high")},
          amplitude_mean, width_mean
        FROM (
          SELECT p.name AS project, replace(t.step, 'simulate:', '') AS analysis, i.kind, {cells}
            count(*) AS injected, count(*) FILTER (WHERE i.covered) AS covered, count(i.covered) AS known,
            count(*) FILTER (WHERE i.found) AS found, count(*) FILTER (WHERE i.found AND i.covered) AS seen,
            avg(i.amplitude) AS amplitude_mean, avg(i.width) AS width_mean
          FROM injection i
          JOIN task t ON t.id = i.task_id
          JOIN configuration c ON c.step = t.step AND c.digest = t.digest AND c.current
          JOIN project p ON p.id = c.project_id
          JOIN project_source m ON m.project_id = p.id AND m.source_id = t.source_id
          GROUP BY p.name, t.step, i.kind{", 4, 5" if cells else ""}) counted"""


# Two bins to a decade of strength and of duration.
CELLS = """
            floor(2 * log(abs(nullif(i.amplitude, 0))::numeric))::int AS a,
            floor(2 * log(nullif(abs(i.width), 0)::numeric))::int AS w,"""
BINS = """
          power(10, a / 2.0::float8) AS amplitude_low, power(10, (a + 1) / 2.0::float8) AS amplitude_high,
          power(10, w / 2.0::float8) AS width_low, power(10, (w + 1) / 2.0::float8) AS width_high,"""


def upgrade() -> None:
    """Add the column, unknown for what was injected before, and make the views anew."""
    op.execute("DROP VIEW efficiency")
    op.add_column("injection", sa.Column("covered", sa.Boolean(), nullable=True, comment=_COVERED))
    for column, (old, new) in _COMMENTS.items():
        op.alter_column("injection", column, existing_type=_TYPES[column], comment=new, existing_comment=old)
    op.execute(f"CREATE VIEW efficiency AS {_view(CELLS, BINS)}")
    op.execute(f"CREATE VIEW efficiency_by_kind AS {_view('', '')}")


def downgrade() -> None:
    op.execute("DROP VIEW efficiency_by_kind")
    op.execute("DROP VIEW efficiency")
    for column, (old, new) in _COMMENTS.items():
        op.alter_column("injection", column, existing_type=_TYPES[column], comment=old, existing_comment=new)
    op.drop_column("injection", "covered")
    op.execute(f"CREATE VIEW efficiency AS {OLD}")
