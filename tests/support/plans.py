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


class Counting:
    """A connection that counts the rows of some tables which the plan of each statement about them has looked at."""

    def __init__(self, connection, *tables):
        self._connection = connection
        self.looked_at = dict.fromkeys(tables, 0)

    async def execute(self, statement, values=None):
        if any(table in statement.text for table in self.looked_at):
            async with self._connection.begin_nested() as once:  # it is run to be counted, and must not count twice
                nodes = await nodes_of(self._connection, statement, values, analyze=True)
                await once.rollback()
            for node in nodes:
                if node.get("Relation Name") in self.looked_at:
                    self.looked_at[node["Relation Name"]] += rows_read(node)
        return await self._connection.execute(statement, values)
