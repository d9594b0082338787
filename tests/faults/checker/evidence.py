"""Reads everything that a run left behind, as it is, into plain lists."""

import base64
import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import boto3
import psycopg
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition
from psycopg.rows import dict_row

TABLES = {
    "assets": "SELECT id::text, tenant_id::text, state, generation, event_seq, finished_at FROM assets",
    "jobs": "SELECT id::text, asset_id::text, stage, generation, state, dispatch, epoch, attempts, deaths,"
    " extract(epoch FROM finished_at)::float8 AS finished FROM jobs",
    "events": "SELECT id::text, asset_id::text, tenant_id::text, seq, generation, type, subject FROM asset_events",
    "variants": "SELECT asset_id::text, generation, profile, object_key, size, encode(sha256, 'hex') AS sha256,"
    " coalesce(parts, '[]') AS parts FROM variants",
    "dead_letters": "SELECT id::text, job_id::text, asset_id::text, code FROM dead_letters",
}


@dataclass(frozen=True)
class Record:
    topic: str
    partition: int
    offset: int
    at: float
    headers: dict[str, str]
    value: bytes


@dataclass(frozen=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes
    at: float
    status: int


@dataclass
class Evidence:
    manifest: dict
    rows: dict[str, list[dict]] = field(default_factory=dict)
    records: dict[str, list[Record]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    versions: list[dict] = field(default_factory=list)  # key, version, size, deleted
    hashes: dict[str, str] = field(default_factory=dict)  # of the objects under media/, by key
    probe: list[str] = field(default_factory=list)  # versions of the object that the run put twice


def gather(manifest: dict) -> Evidence:
    found = Evidence(manifest)
    with psycopg.connect(manifest["database_url"], row_factory=dict_row) as connection:
        found.rows = {name: connection.execute(query).fetchall() for name, query in TABLES.items()}
    prefix = manifest["prefix"]
    for route in ("events", "jobs.image", "jobs.video", "jobs.dlq"):
        found.records[route] = list(read_topic(manifest["brokers"], f"{prefix}.{route}"))
    found.requests = list(read_requests(Path(manifest["receiver_log"])))
    client, bucket = s3(manifest["store"]), manifest["store"]["bucket"]
    found.versions, found.hashes = read_bucket(client, bucket)
    found.probe = [one["version"] for one in read_versions(client, bucket, manifest["probe"])]
    return found


def read_topic(brokers: str, topic: str) -> Iterator[Record]:
    """Every committed record that there is now."""
    consumer = Consumer(
        {"bootstrap.servers": brokers, "group.id": "faults-checker", "enable.auto.commit": False,
         "isolation.level": "read_committed", "enable.partition.eof": True}
    )  # fmt: skip
    try:
        partitions = consumer.list_topics(topic, timeout=60).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in partitions])
        unread = set(partitions)
        while unread:
            message = consumer.poll(60)
            if message is None:
                raise RuntimeError(f"{topic}: partitions {sorted(unread)} could not be read to their end")
            if message.error() is not None:
                if message.error().name() != "_PARTITION_EOF":
                    raise RuntimeError(str(message.error()))
                unread.discard(message.partition())
                continue
            headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers() or ()}
            yield Record(
                topic, message.partition(), message.offset(), message.timestamp()[1] / 1000, headers, message.value()
            )
    finally:
        consumer.close()


def read_requests(path: Path) -> Iterator[Request]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            one = json.loads(line)
            yield Request(one["path"], one["headers"], base64.b64decode(one["body"]), one["at"], one["status"])


def s3(store: dict):
    return boto3.client(
        "s3", endpoint_url=store["endpoint"], region_name="us-east-1",
        aws_access_key_id=store["access_key"], aws_secret_access_key=store["secret_key"],
    )  # fmt: skip


def read_versions(client, bucket: str, prefix: str) -> list[dict]:
    """Every version of every object with a key that begins so."""
    return [
        {"key": one["Key"], "version": one["VersionId"], "size": one.get("Size"), "deleted": kind != "Versions"}
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=prefix)
        for kind in ("Versions", "DeleteMarkers")
        for one in page.get(kind, [])
    ]


def read_bucket(client, bucket: str) -> tuple[list[dict], dict[str, str]]:
    """Every version of every object below media/, and the SHA-256 of each object's bytes."""
    versions = read_versions(client, bucket, "media/")

    def digest(key: str) -> str:
        return hashlib.sha256(client.get_object(Bucket=bucket, Key=key)["Body"].read()).hexdigest()

    keys = sorted({one["key"] for one in versions if not one["deleted"]})
    with ThreadPoolExecutor(8) as pool:
        return versions, dict(zip(keys, pool.map(digest, keys), strict=True))
