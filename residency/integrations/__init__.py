"""How apps touch it: SQLAlchemy sessions, pytest."""
