"""A verdict says whose it is and why: reader, reason, comment and drawn objects; each reader's stands by itself."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_NEW = {
    "reader": ("", "name of who gave it; empty where it is not known"),
    "reason": ("", "id of why it is to be retaken; empty where none was given"),
    "comment": ("", "what the reader wrote"),
    "marks": ("[]", "what the reader drew, as JSON"),
}
_STANDING = """
SELECT audit.key, audit.name, audit.verdict, audit.probability, audit.time, audit.id,
audit.reader, audit.reason, audit.comment, audit.marks
FROM audit
WHERE audit.verdict != 'none'
AND NOT (EXISTS (
    SELECT * FROM audit AS later
    WHERE later.key = audit.key AND later.reader = audit.reader AND later.id > audit.id
))
"""


def upgrade() -> None:
    for name, (default, comment) in _NEW.items():
        op.add_column("audit", sa.Column(name, sa.Text, nullable=False, server_default=default, comment=comment))
    op.drop_index("audit_of_key", "audit")
    op.create_index("audit_of_key", "audit", ["key", "reader", "id"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP VIEW verdicts")
        op.execute(f"CREATE VIEW verdicts AS {_STANDING}")
    else:  # which keeps the rights that others were granted on it
        op.execute(f"CREATE OR REPLACE VIEW verdicts AS {_STANDING}")
