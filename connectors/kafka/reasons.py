"""Why no broker answers: what librdkafka's calls raise says only that none did, not of a password or a certificate."""

from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka.admin import AdminClient


class Reasons:
    """What one client hears of its brokers: give it `options`, and ask `why` when a call of that client has failed."""

    def __init__(self) -> None:
        self._last = ""

    @property
    def options(self) -> dict[str, Any]:
        """For the client, beside `client_options`."""
        return {"error_cb": self._hear}

    def why(self, client: AdminClient | Consumer, error: KafkaException) -> str:
        """The last that was heard of a broker, with its address; what the call itself says where nothing was."""
        client.poll(0)  # hands over what has been heard
        heard, self._last = self._last, ""
        said: str = error.args[0].str()
        return heard or said

    def _hear(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - its public name
            self._last = error.str()
