"""Alembic migrations of the store, packaged so that an installed service can upgrade its own database."""
