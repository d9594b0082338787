"""From settings to what librdkafka wants: one place, so that no connection forgets SASL or TLS."""

from schemas.settings import KafkaSettings


def client_options(settings: KafkaSettings) -> dict[str, str | int | float | bool]:
    """The connection part of a confluent-kafka configuration: brokers, TLS and SASL."""
    options: dict[str, str | int | float | bool] = {
        "bootstrap.servers": settings.brokers,
        "security.protocol": settings.security_protocol,
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 2000,
        # librdkafka would write lines of its own to stderr, which are no JSON: forty a second while no broker answers.
        # Who asks it for something is told, and says so.
        "log_level": 0,
    }
    named = {
        "sasl.mechanism": settings.sasl_mechanism,
        "sasl.username": settings.sasl_username,
        "sasl.password": settings.sasl_password,
        "ssl.ca.location": settings.tls_ca_file,
        "ssl.certificate.location": settings.tls_cert_file,
        "ssl.key.location": settings.tls_key_file,
    }
    return options | {key: value for key, value in named.items() if value is not None}
