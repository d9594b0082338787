"""Alembic's entry: runs the pending revisions on the connection that `migrations.upgrade` holds.

Each in a transaction of its own: tables are locked for as long as one step needs them.
"""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
