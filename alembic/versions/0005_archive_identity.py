"""An archive is part of what its raw data are, and a fetch task knows what the archive listed.

Revision 0005, after 0004; made 2026-11-28.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_OLD = ["observatory", "origin", "archive_id", "key", "sha256"]
_NEW = ["observatory", "origin", "archive", "archive_id", "key", "sha256"]


def upgrade() -> None:
    """Add the columns; raw data from before belong to an archive without a name."""
    op.add_column("task", sa.Column("listed", sa.String(), nullable=True, comment=_LISTED))
    op.add_column(
        "raw_data", sa.Column("archive", sa.String(), server_default="", nullable=False, comment=_ARCHIVE)
    )
    op.drop_constraint(f"uq_raw_data_{'_'.join(_OLD)}", "raw_data", type_="unique")
    op.create_unique_constraint(f"uq_raw_data_{'_'.join(_NEW)}", "raw_data", _NEW)


def downgrade() -> None:
    """Remove them; of raw data that two archives hold, those of the later one stay."""
    op.drop_constraint(f"uq_raw_data_{'_'.join(_NEW)}", "raw_data", type_="unique")
    op.execute(
        """DELETE FROM raw_data d USING raw_data e WHERE d.id < e.id
        AND (d.observatory, d.origin, d.archive_id, d.key, d.sha256)
          = (e.observatory, e.origin, e.archive_id, e.key, e.sha256)"""
    )
    op.create_unique_constraint(f"uq_raw_data_{'_'.join(_OLD)}", "raw_data", _OLD)
    op.drop_column("raw_data", "archive")
    op.drop_column("task", "listed")


_LISTED = "What a folder archive held of the source when it was read: JSON of path to size:time"
_ARCHIVE = "Which archive: its folders or addresses, one a line"
