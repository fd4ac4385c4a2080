"""Where Alembic begins."""

import os

from alembic import context
from app.models import Base
from sqlalchemy import create_engine

URL = os.environ["DATABASE_URL"].replace("+asyncpg", "+psycopg")

with create_engine(URL).connect() as connection:
    context.configure(connection=connection, target_metadata=Base.metadata)
    with context.begin_transaction():
        context.run_migrations()
