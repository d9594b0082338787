"""Still pictures: two engines behind one protocol, a table that says which serves what, and the cascade over them."""

from processors.images.pipeline import process

__all__ = ["process"]
