"""Beside a record stands whether it has doubts, so that those are found without reading records, and the state of its
file, so that one that is unchanged is not read again.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# True of a record with doubts, or with remarks of which it does not tell: no text within one can hold this, as its
# quotation marks are escaped.
_IS_REMARKED = """
record LIKE '%"doubts":["%' OR (record LIKE '%"remarks":["%' AND record NOT LIKE '%"doubts":[%')
"""


def upgrade() -> None:
    comment = "has doubts among its remarks"
    op.add_column(
        "results", sa.Column("is_remarked", sa.Boolean, nullable=False, server_default=sa.false(), comment=comment)
    )
    comment = "of its file when that was read, see `State`"
    op.add_column("results", sa.Column("state", sa.Text, nullable=False, server_default="", comment=comment))
    op.execute(f"UPDATE results SET is_remarked = true WHERE {_IS_REMARKED}")
    op.create_index(
        "remarked",
        "results",
        ["is_remarked", "rank", "name"],
        sqlite_where=sa.text("is_newest = 1 AND is_remarked = 1"),
        postgresql_where=sa.text("is_newest = true AND is_remarked = true"),
    )
