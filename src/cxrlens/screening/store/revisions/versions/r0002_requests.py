"""Verdicts bear the number that the client gave its request, so that one sent again is not given twice."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    comment = "the client's own number of what it asked for, where it gave one"
    op.add_column("audit", sa.Column("request", sa.Text, comment=comment))
    op.create_index("audit_of_request", "audit", ["request"], unique=True)
    op.execute("UPDATE facts SET value = '2' WHERE name = 'format'")  # versions that count no revisions refuse this
