"""The names of parts, and the order in which they stop. Medialane's own processes are data: a new one is a word."""

INFRASTRUCTURE = ("postgres", "kafka", "connect", "s3")
PROCESSES = ("api", "media-images", "media-video", "webhooks", "keeper")
ALL = (*INFRASTRUCTURE, *PROCESSES)
# After Medialane's own processes, which go first: each group needs the ones behind it.
STOP_ORDER = (("connect",), ("kafka", "s3"), ("postgres",))
