"""Alembic's entry: runs the pending revisions on the connection that `migrations.upgrade` holds, in one transaction."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
