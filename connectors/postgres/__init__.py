"""Postgres: the unit of work, and one module of queries per part of the protocol."""
