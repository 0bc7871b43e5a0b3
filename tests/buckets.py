"""An S3 server for tests, of moto, in a thread of this process; its store is empty at the beginning."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest


class Buckets:
    """The server's buckets.

    Attributes:
        client: of boto3, by which tests look at what is there.
    """

    def __init__(self, address: str) -> None:
        import boto3

        self.client: Any = boto3.client("s3", endpoint_url=address)

    def make(self, name: str) -> None:
        self.client.create_bucket(Bucket=name)

    def put(self, bucket: str, key: str, content: bytes) -> None:
        self.client.put_object(Bucket=bucket, Key=key, Body=content)

    def get(self, bucket: str, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def keys(self, bucket: str, prefix: str = "") -> set[str]:
        """The names of all objects, from the prefix on."""
        found = set[str]()
        for page in self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            found |= {each["Key"].removeprefix(prefix) for each in page.get("Contents", ())}
        return found


@contextmanager
def s3_server() -> Iterator[Buckets]:
    """A running server, which the environment names; the test is skipped without moto or s3fs."""
    moto = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    server = moto.ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "tests")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "never-to-be-shown")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        try:
            yield Buckets(f"http://{host}:{port}")
        finally:
            server.stop()
