"""A file a revision, for SQLite and PostgreSQL alike.

A revision stays as it was when the first store was made by it; a change of the tables in `schema` is a further one.
"""
