import pytest


@pytest.fixture(scope="module")
def object_store_settings(bucket):
    """Settings of a real bucket."""
    return bucket
