"""The names of parts, and the order in which they stop. Medialane's own processes are data: a new one is a word."""

INFRASTRUCTURE = ("postgres", "kafka", "connect", "s3")
BROKERS = ("kafka", "kafka@2", "kafka@3")  # the first alone, or all three as a cluster
FOUNDATION = ("postgres", *BROKERS, "connect", "s3")
PROCESSES = ("api", "media-images", "media-video", "webhooks", "usage", "keeper")
ON_DEMAND = ("usage",)  # only started by name: nothing else needs them
ALL = (*INFRASTRUCTURE, *(name for name in PROCESSES if name not in ON_DEMAND))
# After Medialane's own processes, which go first: each group needs the ones behind it.
STOP_ORDER = (("connect",), (*BROKERS, "s3"), ("postgres",))
