"""The object store: a port, its S3 implementation, and the signing of addresses that clients use directly."""
