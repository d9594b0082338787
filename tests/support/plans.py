"""How Postgres goes about a statement: the nodes of its plan."""

import sqlalchemy as sa


async def nodes_of(connection, statement, values, *, analyze=False):
    """All nodes of the plan, those below others among them; with `analyze` the statement is run, and they have counts."""
    options = "ANALYZE, FORMAT JSON" if analyze else "FORMAT JSON"
    (plan,) = (await connection.execute(sa.text(f"EXPLAIN ({options}) {statement.text}"), values)).scalar_one()
    nodes = [plan["Plan"]]
    for node in nodes:  # which grows
        nodes += node.get("Plans", ())
    return nodes


async def pages_of(connection, statement, values):
    """How many pages a statement touches when it is run."""
    options = "ANALYZE, BUFFERS, FORMAT JSON"
    (plan,) = (await connection.execute(sa.text(f"EXPLAIN ({options}) {statement.text}"), values)).scalar_one()
    return plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]


def rows_read(node):
    """How many rows of its table a node has looked at."""
    return (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
