"""The whole way in Python: drawn radiographs, a network, its scores, its maps, a calibration and a worklist.

python examples/whole_way.py OUT [--small]
"""

from __future__ import annotations

import sys
from pathlib import Path

import cxrlens
from cxrlens.api import PointingGameResult, ScreenResult, TrainingResult
from cxrlens.dataset.phantom.dataset import write_phantom_dataset


def main(out: Path, *, small: bool) -> None:
    """Everything into a new folder; ``small`` is for trying the script, its numbers mean nothing."""
    data = out / "data"
    write_phantom_dataset(data, train=48 if small else 320, dev=16 if small else 80, size=96 if small else 256)

    trained: TrainingResult | None = cxrlens.train(
        data,
        run_dir=out / "run",
        arch="timm:test_resnet" if small else "resnet34",
        recipe="small",
        image_size=64 if small else 192,
        epochs=10 if small else 7,
        settings={"augmentation.brightness": 0, "augmentation.contrast": 0},
    )
    assert trained is not None  # in each process but the first, where several train together
    model = cxrlens.load(trained.model)

    scores = cxrlens.test(data, model, out / "tested").scores
    print(f"AUC {scores.auc:.3f} ({scores.auc_interval.low:.3f} to {scores.auc_interval.high:.3f})")

    game: PointingGameResult = cxrlens.play_pointing_game(data, model, out / "game")
    for row in game.table:
        print(f"{row['method']:>18} {row['layers']:<9} {row['accuracy']:.3f} ({row['low']:.3f} to {row['high']:.3f})")

    site = cxrlens.calibrate(data, trained.model, out / "site.safetensors", split="train", prevalence="10%")
    screening: ScreenResult = cxrlens.screen(data / "dev", site.files[0], out / "screened")
    print(f"{screening.counts['retake']} of {screening.counts['images']} suggested for a retake")
    print("page:", screening.files()["page"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), small="--small" in sys.argv)
