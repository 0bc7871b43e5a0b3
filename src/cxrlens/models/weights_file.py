"""Weights in files of other programs: read without running code, and freed of the names of what wrapped the network."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from cxrlens.errors import UsageError
from cxrlens.models.content import bundle_sentence, content_of

_HOLDERS = ("state_dict", "model_state_dict", "model", "network", "net")
"""Keys under which training programs keep the state dict in a checkpoint, looked up in this order."""

_COMPILED = "_orig_mod"
_AVERAGED = "n_averaged"  # the counter of torch.optim.swa_utils.AveragedModel, beside the weights
_BESIDE = ("op_threshs",)  # of torchxrayvision's wrappers, beside the network

_LOOKED_AT = 512  # bytes


def read_weights(path: Path) -> dict[str, Tensor]:
    """As `read_checkpoint`, the state dict alone."""
    return read_checkpoint(path)[0]


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Mapping[Any, Any]]:
    """The state dict of a safetensors file, of a file that torch saved, or of a checkpoint, and all that this holds.

    Which it is, its content tells, not its name. Nothing but tensors and plain containers is unpickled, so that a file
    cannot run code.

    Raises:
        UsageError: when there is no such file, or it holds no state dict.
    """
    if not path.is_file():
        raise UsageError(
            f"{path}: no such weights file; `weights` takes 'imagenet', 'none', a file, the name of a kept model, "
            "timm:NAME, torchvision:NAME, an address https://...#sha256=HEX or hf:OWNER/NAME@COMMIT/FILE"
        )
    kind = content_of(path)
    if kind == "bundle":
        raise UsageError(bundle_sentence(path))
    if kind == "safetensors":
        try:
            state = load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise _unreadable(path, "it is a safetensors file that is cut short or damaged") from error
        return state, {}
    if kind == "other":
        raise _unreadable(path, _in_words(path))
    content = _unpickled(path)
    held = [content, *(content[key] for key in _HOLDERS if key in content)] if isinstance(content, Mapping) else []
    found = next(filter(_is_state, held), None)
    if found is None:
        raise UsageError(f"{path}: holds no state dict of tensors; save the network's state_dict() and give that")
    return dict(found), content


def _unpickled(path: Path) -> Any:
    """What torch has saved in a file, if that is tensors and plain containers.

    Raises:
        UsageError: when it is something else, or the file is damaged.
    """
    try:
        # of a name that ends in .safetensors torch would go by the name
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of torch, on pickles that it has not written
            return torch.load(stream, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        if "GLOBAL" in reason or "Unsupported" in reason:
            raise UsageError(
                f"{path}: is no readable weights file (it holds Python objects, such as a whole module, and loading "
                "those may run code); save the network's state_dict() and give that"
            ) from error
        raise _unreadable(path, "it is a pickle that is cut short or damaged") from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, AssertionError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        is_other = zipfile.is_zipfile(path)  # the end is there, but torch did not write what it lists
        what = "it is a ZIP archive, but not as torch writes it" if is_other else "it is cut short or damaged"
        raise _unreadable(path, what) from error


def _unreadable(path: Path, what: str) -> UsageError:
    remedy = "copy it again" if "cut short" in what else "give a .safetensors file, or one that torch saved"
    return UsageError(f"{path}: is no readable weights file ({what}); {remedy}")


def _in_words(path: Path) -> str:
    """What a file is that holds no weights."""
    with path.open("rb") as stream:
        head = stream.read(_LOOKED_AT)
    if not head:
        return "it is empty"
    if path.suffix.lower() == ".onnx":
        return "it is an ONNX model; give the model file that it was made from"
    try:
        is_text = head.decode(errors="strict").isprintable() or b"\n" in head
    except UnicodeDecodeError:
        is_text = False
    return "it holds text" if is_text and b"\0" not in head else "it begins neither as safetensors nor as torch's files"


def _is_state(content: Any) -> bool:
    return (
        isinstance(content, Mapping)
        and bool(content)
        and all(isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items())
    )


def without_wrappers(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A state dict without the names of the modules that the network was wrapped in when it was saved.

    ``module.`` of DataParallel, ``_orig_mod.`` of a compiled module, ``model.`` or ``network.`` of a training module:
    whatever stands before every name is taken away, until a name is one of the network's. What stands beside the
    network (torchxrayvision's thresholds) keeps its name.

    Args:
        own: the network's state dict.
    """
    bare = {".".join(part for part in key.split(".") if part != _COMPILED): value for key, value in state.items()}
    if _AVERAGED not in own:
        bare.pop(_AVERAGED, None)
    while bare and not own.keys() & bare.keys():
        parts = {key: key.partition(".") for key in bare if key not in _BESIDE}
        if len({first for first, _, _ in parts.values()}) != 1 or not all(rest for _, _, rest in parts.values()):
            break
        bare = {parts[key][2] if key in parts else key: value for key, value in bare.items()}
    return bare


def unfit(state: Mapping[str, Tensor], own: Mapping[str, Tensor], optional: frozenset[str] = frozenset()) -> list[str]:
    """What keeps a state dict from being a network's, a phrase for each tensor; none where it fits.

    Args:
        own: the network's state dict.
        optional: names that may be missing or of another shape.
    """
    found = []
    for key in {**own, **state}:
        if key in optional:
            continue
        if key not in state:
            near = next((other for other in state if other.endswith(f".{key}")), None)
            found.append(f"{key} is missing" + (f", {near} is there" if near else ""))
        elif key not in own:
            found.append(f"{key} is too many")
        elif state[key].shape != own[key].shape:
            found.append(f"{key} has the shape {list(state[key].shape)}, not {list(own[key].shape)}")
        elif own[key].is_floating_point() and not state[key].is_floating_point():
            found.append(f"{key} holds {str(state[key].dtype).removeprefix('torch.')} numbers")
    return found


def counted_faults(faults: Sequence[str]) -> str:
    """What `unfit` has found, in words: how much, and the first of it."""
    if len(faults) == 1:
        return faults[0]
    return f"{len(faults)} tensors are missing, too many or of another shape (first: {faults[0]})"


def no_numbers(broken: Sequence[str], of: int) -> str:
    """What `not_finite` has found among so many tensors, in words."""
    return f"{len(broken)} of its {of} tensors hold values that are no numbers (first: {broken[0]})"


def not_finite(state: Mapping[str, Tensor]) -> list[str]:
    """The names of tensors that hold values which are no numbers (NaN) or infinite."""
    return [key for key, value in state.items() if value.is_floating_point() and not value.isfinite().all()]
