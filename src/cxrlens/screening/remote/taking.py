"""From an address to its images."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path

from cxrlens import plugins
from cxrlens.errors import UsageError
from cxrlens.screening.remote.addresses import Address, parse_address
from cxrlens.screening.remote.origin import RemoteOrigin, RemoteSource
from cxrlens.screening.remote.plugged import PluggedSource
from cxrlens.screening.remote.selection import Selection

log = logging.getLogger(__name__)


def take_remote(
    text: str, *, credentials: Path | None = None, ca_file: Path | None = None, left_out: str = ""
) -> RemoteSource:
    """What an address holds; it answers.

    Args:
        credentials: file of users and passwords of servers, see `read_credentials`.
        ca_file: certificates that are trusted.
        left_out: an address below which nothing is screened.

    Raises:
        UsageError: when it is no address, needs a package that is not installed, or does not answer.
    """
    address = parse_address(text)
    source: RemoteSource
    plugged = None if address.is_web else _plugged_source(address)
    if plugged is not None:
        source = plugged
    elif not address.is_web:
        from cxrlens.screening.remote.objects import take_objects

        source = take_objects(address.root, left_out)
    else:
        if ca_file is not None and not ca_file.is_file():
            raise UsageError(f"{ca_file}: no such file of certificates; check the path")
        source = _web_source(address, credentials, ca_file)
    source.check()
    if address.is_web:
        log.info("%s: asks for %s", address.root, Selection.of(address.query, address.root))
    return source


def origin_of(root: str, name: str) -> RemoteOrigin:
    """The image of a name below an address; credentials are those of the environment.

    Raises:
        UsageError: when it is no such name, or needs a package that is not installed.
    """
    address = parse_address(root)
    if address.is_web:
        return _web_source(address, None, None).origin(name)
    plugged = _plugged_source(address)
    if plugged is not None:
        return plugged.origin(name)
    from cxrlens.screening.remote.objects import ObjectSource

    return ObjectSource(address.root).origin(name)


def _plugged_source(address: Address) -> PluggedSource | None:
    """What a package makes of an address that has its scheme; None where none has it."""
    make = plugins.find_plugin(plugins.SOURCES, address.scheme)
    return None if make is None else PluggedSource.of(address.scheme, make, address.root)


def _web_source(address: Address, credentials: Path | None, ca_file: Path | None) -> RemoteSource:
    for package in ("dicomweb_client", "requests_toolbelt"):
        if importlib.util.find_spec(package) is None:
            raise UsageError(
                f"{address.root}: needs the package {package.replace('_', '-')}: pip install 'cxrlens[pacs]'"
            )
    from cxrlens.screening.remote.dicomweb import DicomWebSource
    from cxrlens.screening.remote.orthanc import OrthancSource
    from cxrlens.screening.remote.web import WebServer

    server = WebServer(address.url, credentials, ca_file)
    selection = Selection.of(address.query, address.root)
    if address.scheme.startswith("orthanc"):
        return OrthancSource(address.root, server, selection)
    return DicomWebSource(address.root, server, selection)
