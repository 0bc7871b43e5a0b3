"""The model file: weights as safetensors with a card (architecture, preprocessing, scores) in its metadata."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from cxrlens.errors import UsageError
from cxrlens.files import replacing
from cxrlens.models.card import CARD_KEY, ModelCard, parse_card
from cxrlens.models.content import bundle_sentence, content_of
from cxrlens.models.location import model_path
from cxrlens.models.registry import blank_network, find_architecture
from cxrlens.models.weights_file import counted_faults, no_numbers, not_finite, unfit

_LARGEST_HEADER = 16 << 20


def save_model(path: Path, network: nn.Module, card: ModelCard) -> None:
    """Write a model file under a temporary name, then rename it."""
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with replacing(path) as partial:
        # Not safetensors' save_file: it makes a file that only its owner may read, whatever the umask says.
        partial.write_bytes(save(state, metadata={CARD_KEY: card.to_metadata()}))


def is_model_file(path: Path) -> bool:
    """True for a model file of cxrlens, as its beginning tells; its weights are not looked at."""
    try:
        with path.open("rb") as stream:
            size = int.from_bytes(stream.read(8), "little")
            header = json.loads(stream.read(min(size, _LARGEST_HEADER)))
    except (OSError, ValueError):
        return False
    return isinstance(header, dict) and CARD_KEY in (header.get("__metadata__") or {})


def load_model(path: Path) -> tuple[nn.Module, ModelCard]:
    """Read a model file; the network is in evaluation mode on the CPU.

    Raises:
        UsageError: when the file is missing, cut short, of another program, or does not fit its architecture, or when
            its weights are no numbers.
    """
    network, card = read_model(path)
    state = network.state_dict()
    broken = not_finite(state)
    if broken:
        raise UsageError(
            f"{model_path(path)}: {no_numbers(broken, len(state))}; take another copy of the file, or train anew with "
            "a smaller --lr"
        )
    negative = [key for key, value in state.items() if key.endswith(".running_var") and bool((value < 0).any())]
    if negative:
        raise UsageError(
            f"{model_path(path)}: {negative[0]} holds a variance below 0; take another copy of the file, or train anew"
        )
    return network, card


def read_model(path: Path) -> tuple[nn.Module, ModelCard]:
    """As `load_model`, whatever numbers its weights hold.

    Raises:
        UsageError: when the file is missing, cut short, of another program, or does not fit its architecture.
    """
    path = model_path(path)
    if path.suffix.lower() == ".onnx":
        raise UsageError(
            f"{path}: is an ONNX model, which 'cxrlens screen' and 'cxrlens serve' run, and torch does not; give the "
            "model file that it was made from"
        )
    if content_of(path) == "bundle":
        raise UsageError(bundle_sentence(path))
    try:
        with safe_open(path, framework="pt") as stored:
            metadata = stored.metadata() or {}
            state: dict[str, torch.Tensor] = {key: stored.get_tensor(key) for key in stored.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise UsageError(f"{path}: is damaged or no model file ({error}); copy it again or train anew") from error
    if CARD_KEY not in metadata:
        raise UsageError(
            f"{path}: holds weights but no cxrlens model card; as a start for training give it to `weights`"
        )
    card = parse_card(metadata[CARD_KEY], str(path))
    try:
        architecture = find_architecture(card.architecture)
    except UsageError as error:
        remedy = "" if ":" in card.architecture else "; update cxrlens?"
        raise UsageError(f"{path}: {error}{remedy}") from error
    network = blank_network(architecture, len(card.classes), (card.preprocessing.height, card.preprocessing.width))
    own = network.state_dict()
    faults = unfit(state, own)
    if faults:
        raise UsageError(
            f"{path}: its weights are not those of the {card.architecture} that it names "
            f"({counted_faults(faults)}); the file is not usable"
        )
    network.load_state_dict({key: state[key].to(own[key].dtype, copy=True) for key in own}, assign=True)
    return network.eval(), card
