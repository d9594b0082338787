"""Files in, files out: sniffing, probing, image engines, video, and the sandboxed children that run them.

Knows nothing of Kafka, SQL or HTTP; `processors.pool.MediaPool` is the face that the workers call.
"""
