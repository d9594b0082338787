"""What durability was in force while the figures were taken, asked of the running parts and not assumed."""

import aiohttp
import sqlalchemy as sa

from cli.bench.context import Bench, BenchError
from cli.stack.layout import layout

_SETTINGS = ("fsync", "synchronous_commit", "full_page_writes")


async def settings_in_force(bench: Bench) -> dict[str, str]:
    """Postgres' settings by SHOW, the connector's acks by REST, whether Connect writes in transactions by its file."""
    found: dict[str, str] = {}
    async with bench.database() as database, database.transaction() as connection:
        for name in _SETTINGS:
            found[name] = str((await connection.execute(sa.text(f"SHOW {name}"))).scalar_one())
    connect = bench.platform.connect
    address = f"{connect.url}/connectors/{connect.connector}/config"
    async with aiohttp.ClientSession() as session, session.get(address) as response:
        if response.status != 200:
            raise BenchError(f"Connect answered {response.status} to the question for the connector's settings")
        config = await response.json()
    found["connector acks"] = config.get("producer.override.acks", "all (default)")
    found["connector exactly once"] = _of_worker(bench, "exactly.once.source.support")
    return found


def _of_worker(bench: Bench, name: str) -> str:
    lines = layout(bench.stack.folder).config.joinpath("connect.properties").read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line).get(name, "disabled (default)")
