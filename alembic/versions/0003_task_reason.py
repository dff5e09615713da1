"""Why a task is empty, and how much it left out by cause.

Revision 0003, after 0002; made 2026-11-28.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("task", sa.Column("reason", sa.String(), nullable=True, comment="Why it is empty"))
    op.add_column(
        "task",
        sa.Column(
            "counts",
            postgresql.JSONB(),
            nullable=True,
            comment="What was left out: number by cause",
        ),
    )


def downgrade() -> None:
    op.drop_column("task", "counts")
    op.drop_column("task", "reason")
