"""State machines on the real SQL. Hypothesis calls their rules without a loop: each run has one of its own, and a pool."""

import asyncio

from hypothesis.stateful import RuleBasedStateMachine

from connectors.postgres.database import Database
from schemas.settings import DatabaseSettings


class SqlMachine(RuleBasedStateMachine):
    """A test sets the database's address and the helpers that seed; the first rule connects."""

    url: str
    seed: object

    def __init__(self):
        super().__init__()
        self.loop = asyncio.Runner()

    def connect(self):
        self.database = Database(DatabaseSettings(url=self.url, pool_size=2), application="machine")

    def teardown(self):
        if hasattr(self, "database"):
            self.run_to_the_end()
            self.run(self.database.close())
        self.loop.close()

    def run_to_the_end(self):
        """What must be within reach from wherever the run stopped."""
        raise NotImplementedError

    def run(self, coroutine):
        return self.loop.run(coroutine)

    def transact(self, act):
        async def body():
            async with self.database.transaction() as connection:
                return await act(connection)

        return self.run(body())

    def change(self, statement, **values):
        self.run(self.seed.change(self.database, statement, **values))

    def column(self, statement, **values):
        return self.run(self.seed.column(self.database, statement, **values))
