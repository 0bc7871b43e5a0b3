"""Published scores on Object-CXR, each with its source and protocol, to stand beside one's own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["auc", "froc", "pointing_game"]

_CHALLENGE: Final = "Object-CXR challenge, MIDL 2020"
_MIDL: Final = "Ozer & Oksuz, MIDL 2021, PMLR 143:567-580"
_ARXIV: Final = "Ozer et al., arXiv 2303.14479"
_JOURNAL: Final = "Ozer et al., PMC12819959"
_ON_TEST: Final = "the 1,000 test images"


@dataclass(frozen=True)
class Published:
    """A score on Object-CXR that others have published.

    Attributes:
        kind: of the score: area under the ROC curve, the challenge's mean sensitivity, or the Pointing Game's.
        value: in [0, 1].
        by: what reached it.
        protocol: images, size and training, as far as they are known.
        source: where it was published.
        tolerance: of a Pointing Game, as a share of the side; None where it is not known.
    """

    kind: Kind
    value: float
    by: str
    protocol: str
    source: str
    tolerance: float | None = None


PUBLISHED: Final = (
    Published("auc", 0.963, "challenge winner", f"{_ON_TEST}, trained on boxes", _CHALLENGE),
    Published("auc", 0.937, "ResNet-34", f"{_ON_TEST}, 600 x 600 px, trained on image labels", _CHALLENGE),
    Published("auc", 0.921, "challenge baseline, Faster R-CNN", f"{_ON_TEST}, trained on boxes", _CHALLENGE),
    Published("froc", 0.851, "challenge winner", f"{_ON_TEST}, trained on boxes", _CHALLENGE),
    Published("froc", 0.803, "challenge baseline, Faster R-CNN", f"{_ON_TEST}, trained on boxes", _CHALLENGE),
    Published("pointing_game", 0.862, "best NormGrad", "tolerance 25 px at 600 x 600 px", _MIDL, 25 / 600),
    Published(
        "pointing_game", 0.853, "best NormGrad", "tolerance 15 px at 600 x 600 px, mean of 3 trainings", _ARXIV, 0.025
    ),
    Published("pointing_game", 0.863, "best NormGrad", "tolerance not known here", _JOURNAL),
)


def published(kind: Kind) -> list[Published]:
    """The published scores of a kind."""
    return [each for each in PUBLISHED if each.kind == kind]
