"""The settings of a server."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, replace

from cxrlens.inputs.readers import MAX_PIXELS
from cxrlens.saliency.fusion import DEFAULT_FUSION, Fusion
from cxrlens.serving.readers import Reader


@dataclass(frozen=True)
class ServerSettings:
    """Addresses, limits and rights of a server.

    Attributes:
        host: the address that it listens on.
        token: what a request must bring; None asks for nothing, or for the token of a reader.
        readers: who may give verdicts, each known by a token; where there are any, no other token is taken.
        blind: readers see verdicts of others only on images that they have judged themselves.
        hosts: further names that requests may call the server by, such as that of a proxy before it.
        max_upload: largest request, in bytes.
        max_pixels: largest picture that is decoded.
        max_body: largest body of any other request, in bytes.
        upload_seconds: how long a request may take to arrive.
        stall_seconds: how long a client may send nothing of a request's body, or take nothing of its answer.
        head_seconds: how long the head of a request may take to arrive.
        connections: at once, see `connections.allowed_connections`.
        decode_seconds: how long the decoding of one file may take.
        decoders: processes that decode.
        batch_size: images per pass through the network.
        batch_wait: seconds that an image waits for others to share its pass.
        queue: images that may be in the making; one more is told to come again.
        slow_methods: whether methods are offered that ask the network many times for one map.
        assess_any: judge uploads too that surely are no frontal chest radiographs.
        fusion: how maps are resized and combined; each request names its own smoothing.
    """

    host: str = "127.0.0.1"
    token: str | None = None
    readers: tuple[Reader, ...] = ()
    blind: bool = False
    hosts: tuple[str, ...] = ()
    max_upload: int = 64_000_000
    max_pixels: int = min(50_000_000, MAX_PIXELS)
    max_body: int = 256_000
    upload_seconds: float = 120.0
    stall_seconds: float = 20.0
    head_seconds: float = 10.0
    connections: int = 256
    decode_seconds: float = 30.0
    decoders: int = 2
    batch_size: int = 8
    batch_wait: float = 0.004
    queue: int = 64
    slow_methods: bool = False
    assess_any: bool = False
    fusion: Fusion = DEFAULT_FUSION

    @property
    def is_local(self) -> bool:
        """True where none but this machine can reach the server, and none is said to be before it."""
        return is_loopback(self.host) and not self.hosts

    @property
    def asks_for_token(self) -> bool:
        """True where requests are not answered without one."""
        return self.token is not None or bool(self.readers)

    @property
    def max_arriving(self) -> int:
        """Bytes of uploads that are held at once, in memory or the temporary folder."""
        return 8 * self.max_upload

    def with_token(self, token: str | None) -> ServerSettings:
        """The same with this token."""
        return replace(self, token=token)


def is_loopback(host: str) -> bool:
    """True where an address or name means this machine alone."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
