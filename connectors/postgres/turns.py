"""Turns: of what waits for all tenants, each one's part of a batch, so that one with a million rows delays nobody."""


def tenants_with(
    name: str, rows: str, *, table: str = "jobs", columns: str = "tenant_id", order: str = "tenant_id"
) -> str:
    """SQL: a recursive CTE of the tenants that have such rows: these `columns` of each one's first row in that order.

    A loose index scan: one probe per tenant, however many rows it has. The order begins with `tenant_id`, and is that
    of an index of these rows.
    """
    return f"""
        {name} AS (
            (SELECT {columns} FROM {table} WHERE {rows} ORDER BY {order} LIMIT 1)
            UNION ALL
            SELECT next.* FROM {name}, LATERAL (
                SELECT {columns} FROM {table} WHERE {rows} AND {table}.tenant_id > {name}.tenant_id
                ORDER BY {order} LIMIT 1
            ) AS next
        )
    """  # noqa: S608 - made of constants


def share_of_each(tenants: str) -> str:
    """SQL: an even part of `:batch` for each row of that CTE, rounded up.

    A batch may so be short while there is more: it is done once nothing is found.
    """
    return f"(SELECT ceil(CAST(:batch AS numeric) / greatest(count(*), 1))::int FROM {tenants})"  # noqa: S608
