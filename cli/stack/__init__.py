"""The local stack: Postgres, Kafka, Connect, an S3 server and Medialane's own processes, without containers.

A supervisor process owns everything; commands, tests, the demo and the benchmark talk to it through `Stack`.
"""

from cli.stack.errors import StackError
from cli.stack.library import Stack

__all__ = ["Stack", "StackError"]
