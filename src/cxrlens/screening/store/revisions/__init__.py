"""What makes the tables, and changes those of earlier versions, by Alembic."""
