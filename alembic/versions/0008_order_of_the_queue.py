"""What the queue and the planning of tasks ask for: strength, verdicts by time, steps with digest; why a run ended early.

Revision 0008, after 0007; made 2026-11-29.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_detection_strength", "detection", [sa.text("abs(snr)"), "id"])
    op.create_index("ix_classification_analysis_start_mjd", "classification", ["analysis", "start_mjd"])
    why = sa.Column("error", sa.String(), comment="Why it ended before all was tried; null if it did not")
    op.add_column("run", why)
    # step and digest say the same: without that, the rows of a step are thought to be fewer by the number of steps
    op.execute(
        "CREATE STATISTICS task_step_digest (dependencies, ndistinct, mcv) ON step, digest, status FROM task"
    )


def downgrade() -> None:
    op.execute("DROP STATISTICS task_step_digest")
    op.drop_column("run", "error")
    op.drop_index("ix_classification_analysis_start_mjd", "classification")
    op.drop_index("ix_detection_strength", "detection")
