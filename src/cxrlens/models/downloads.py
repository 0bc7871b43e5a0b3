"""Weights files that are fetched: from an address with its hash, or from a repository of Hugging Face at a commit.

What is fetched is kept in the folder of torch.hub, or in that of huggingface_hub, and fetched once.
"""

from __future__ import annotations

import re
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urldefrag, urlsplit

import torch

from cxrlens.errors import UsageError
from cxrlens.files import sha256_of

HUB = "hf:"
ADDRESSES = ("https://", "http://")

_ENDINGS = (".safetensors", ".pt", ".pth", ".ckpt", ".bin")
_OFFLINE = "or fetch the file on a machine with a network and give `weights=PATH`"


def fetched_file(address: str) -> Path:
    """The file at ``https://...#sha256=HEX``, kept under its hash.

    It is written under another name until it has the hash, so that nothing is kept of a broken or exchanged one.

    Raises:
        UsageError: when there is no hash, the file has another one, or it cannot be fetched.
    """
    url, mark = urldefrag(address)
    digest = mark.removeprefix("sha256=").lower()
    if not mark.startswith("sha256=") or not re.fullmatch("[0-9a-f]{64}", digest):
        raise UsageError(
            f"{url}: weights from the web need the hash of the file, so that nobody can exchange them; give "
            f"`weights={url}#sha256=HEX` with the 64 digits that 'sha256sum FILE' prints"
        )
    ending = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    file = Path(torch.hub.get_dir()) / "checkpoints" / f"{digest}{ending if ending in _ENDINGS else '.pt'}"
    if file.is_file() and sha256_of(file) == digest:
        return file
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(file), hash_prefix=digest, progress=False)
    except RuntimeError as error:
        if "invalid hash" not in str(error):
            raise _not_fetched(url, error) from error
        found = re.findall("[0-9a-f]{64}", str(error))
        raise UsageError(
            f"{url}: has another hash than the one given ({found[-1] if found else 'of its own'}), and was not kept; "
            "ask whoever publishes it for the right one"
        ) from error
    except (OSError, HTTPException, ValueError) as error:
        raise _not_fetched(url, error) from error
    return file


def hub_file(text: str) -> Path:
    """The file of ``hf:OWNER/NAME@COMMIT/FILE``, as huggingface_hub keeps it.

    Raises:
        UsageError: when the text is of another form, huggingface_hub is missing, or the file cannot be fetched.
    """
    parts = re.fullmatch(rf"{HUB}(?P<repository>[^@]+)@(?P<commit>[^/]+)/(?P<file>.+)", text)
    if parts is None or not re.fullmatch("[0-9a-f]{40}", parts["commit"]):
        raise UsageError(
            f"{text}: weights of Hugging Face are named {HUB}OWNER/NAME@COMMIT/FILE, with the 40 digits of a commit, "
            "so that they cannot change (a branch or a tag can); the repository's page lists its commits"
        )
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise UsageError(
            f"{text}: needs the package huggingface_hub; install it with: pip install 'cxrlens[hub]'"
        ) from error
    try:
        return Path(hf_hub_download(parts["repository"], parts["file"], revision=parts["commit"]))
    except Exception as error:  # of the hub and of the network: each has errors of its own
        raise _not_fetched(text, error) from error


def _not_fetched(name: str, error: Exception) -> UsageError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return UsageError(f"{name}: could not be fetched ({reason}); check the address and the network, {_OFFLINE}")
