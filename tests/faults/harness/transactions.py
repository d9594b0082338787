"""What a broker alone may lose in a kill or a restart: the markers of a transaction that was being committed.

It is Kafka's own (decision 29), and says so in its log. Nobody reads past such a transaction until an operator ends it.
"""

import asyncio

from cli.stack.layout import layout
from cli.stack.parts.kafka import java_argv
from harness.bed import Bed

_LOST = "while trying to send transaction markers"
_TOOL = "org.apache.kafka.tools.TransactionsCommand"


def lost_markers(bed: Bed) -> int:
    """How often the broker has said so up to now."""
    return layout(bed.stack.folder).log("kafka").read_text(errors="replace").count(_LOST)


async def abort_hanging(bed: Bed) -> list[str]:
    """End the transactions that no coordinator knows, as the runbook has it; returns their partitions."""
    found = table(await _run(bed, "find-hanging", "--broker-id", "1", "--max-transaction-timeout", "0"))
    for row in found:
        place = ("--topic", row["Topic"], "--partition", row["Partition"], "--start-offset", row["StartOffset"])
        await _run(bed, "abort", *place)
    return [f"{row['Topic']}/{row['Partition']}" for row in found]


def table(text: str) -> list[dict[str, str]]:
    """Rows of what Kafka's tools print, by the names in its first line."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    head = next((index for index, words in enumerate(lines) if words[0] == "Topic"), None)
    return [] if head is None else [dict(zip(lines[head], words, strict=False)) for words in lines[head + 1 :]]


async def _run(bed: Bed, *arguments: str) -> str:
    argv = java_argv("64m", _TOOL, "--bootstrap-server", bed.direct_brokers, *arguments)
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    said, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode(errors="replace")
    return said.decode()
