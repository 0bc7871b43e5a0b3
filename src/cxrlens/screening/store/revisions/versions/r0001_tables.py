"""The tables of the first store: results, and the audit log, which only grows."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_Id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_CodePoints = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_STANDING = """
SELECT audit.key, audit.name, audit.verdict, audit.probability, audit.time, audit.id
FROM audit
WHERE audit.verdict != 'none'
AND NOT (EXISTS (SELECT * FROM audit AS later WHERE later.key = audit.key AND later.id > audit.id))
"""
_KEPT_BY_SQLITE = {
    "audit_is_not_changed": "BEFORE UPDATE ON audit",
    "audit_is_not_shortened": "BEFORE DELETE ON audit",
    "audit_is_not_replaced": "BEFORE INSERT ON audit WHEN EXISTS (SELECT 1 FROM audit WHERE id = NEW.id)",
}


def upgrade() -> None:
    op.create_table("facts", sa.Column("name", sa.Text, primary_key=True), sa.Column("value", sa.Text, nullable=False))
    op.create_table(
        "results",
        sa.Column("id", _Id, primary_key=True, comment="rises as results come"),
        sa.Column("name", _CodePoints, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("status", sa.Text, nullable=False),
        sa.Column("decision", sa.Text),
        sa.Column("triage", sa.Text),
        sa.Column("probability", sa.Double),
        sa.Column("rank", sa.Double, nullable=False, comment="see `rank_of`"),
        sa.Column("is_newest", sa.Boolean, nullable=False, comment="of its name"),
        sa.Column("record", sa.Text, nullable=False, comment="the whole result as a line of results.jsonl"),
        sqlite_autoincrement=True,
    )
    is_newest: dict[str, Any] = {
        "sqlite_where": sa.text("is_newest = 1"),
        "postgresql_where": sa.text("is_newest = true"),
    }
    op.create_index("newest_of_name", "results", ["name"], unique=True, **is_newest)
    asked_for = ["rank", "name", "status", "decision", "triage", "key", "is_newest"]
    op.create_index("worklist", "results", asked_for, **is_newest)
    op.create_index("results_of_key", "results", ["key", "id"])
    op.create_table(
        "audit",
        sa.Column("id", _Id, primary_key=True),
        sa.Column("time", sa.Text, nullable=False),
        sa.Column("key", sa.Text, sa.CheckConstraint("length(key) = 64"), nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        *(
            sa.Column(name, sa.Text, sa.CheckConstraint(f"{name} IN ('accept', 'retake', 'none')"), nullable=False)
            for name in ("verdict", "replaced")
        ),
        sa.Column("probability", sa.Double),
        sa.Column("model_sha256", sa.Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("audit_of_key", "audit", ["key", "id"])
    op.execute(f"CREATE VIEW verdicts AS {_STANDING}")
    if op.get_bind().dialect.name == "sqlite":
        for name, when in _KEPT_BY_SQLITE.items():
            op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, 'the audit log only grows'); END")
    else:
        op.execute(
            "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'the audit log only grows'; END $$"
        )
        op.execute(
            "CREATE TRIGGER audit_only_grows BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
    op.execute("INSERT INTO facts (name, value) VALUES ('format', '1')")
