"""Assignment of images to splits."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, TypeAlias, get_args

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from cxrlens.dataset.prepare.record import Record
from cxrlens.errors import UsageError
from cxrlens.inputs.dataset.manifest import ManifestRow
from cxrlens.wording import counted

How: TypeAlias = Literal["given", "random", "patient"]
HOW: tuple[How, ...] = get_args(How)
DEFAULT_DEV_SHARE = 0.1
_MOST_FOLDS = 100


@dataclass(frozen=True)
class SplitRule:
    """The rule by which images are split.

    Attributes:
        how: "given": as the source says, splits that it lacks are drawn from its train; "random": each image by
            itself, in every class alike; "patient": likewise, all images of a patient together.
        dev_share: of the images that are drawn for dev; likewise ``test_share``; 0 = no such split is drawn.
        seed: of the draw.
    """

    how: How
    dev_share: float
    test_share: float
    seed: int


def choose_rule(
    records: Sequence[Record], how: How | None, dev_share: float | None, test_share: float | None, seed: int
) -> SplitRule:
    """The rule that the options mean for these images.

    By default splits are as given where the source gives any; else they are drawn by patient where the patient of
    every image is known; else at random. Without given splits a dev share that is not named is 0.1.

    Raises:
        UsageError: when the rule does not fit the images.
    """
    unsplit = [record.name for record in records if not record.split]
    if how is None:
        known = all(record.patient_id for record in records)
        how = "given" if len(unsplit) < len(records) else "patient" if known else "random"
    if how == "given" and unsplit:
        raise UsageError(
            f"{counted(len(unsplit), 'image belongs', 'images belong')} to no split, such as {unsplit[0]}; "
            "name their split in the source, or draw all with --split-by random or --split-by patient"
        )
    if how == "patient" and not any(record.patient_id for record in records):
        raise UsageError(
            "--split-by patient: no image's patient is known; "
            "give a CSV with patient_id, or --patient-pattern for file names that hold it"
        )
    default = 0.0 if how == "given" else DEFAULT_DEV_SHARE
    rule = SplitRule(how, default if dev_share is None else dev_share, test_share or 0.0, seed)
    if rule.dev_share + rule.test_share >= 1:
        raise UsageError("--dev-share and --test-share leave nothing to train on; together they should be below 1")
    present = {record.split for record in records}
    for name, share in (("dev", rule.dev_share), ("test", rule.test_share)):
        if how == "given" and share and (name in present or "train" not in present):
            raise UsageError(
                f"--{name}-share: the source gives a split '{name}' or no 'train' to draw it from; "
                "draw all splits anew with --split-by random or --split-by patient"
            )
    return rule


def split_rows(rows: Sequence[ManifestRow], rule: SplitRule) -> list[ManifestRow]:
    """The rows in their order, each with its split; the draw depends on their names and the seed.

    Raises:
        UsageError: when there are too few images or patients for the shares.
    """
    splits = {row.name: row.split if rule.how == "given" else "train" for row in rows}
    by_patient = rule.how == "patient" or (rule.how == "given" and all(row.patient_id for row in rows))
    left = 1.0
    for name, share in (("test", rule.test_share), ("dev", rule.dev_share)):
        if share:
            pool = sorted((row for row in rows if splits[row.name] == "train"), key=lambda row: row.name)
            drawn = (_draw_patients if by_patient else _draw_images)(pool, share / left, rule.seed, name)
            splits.update(dict.fromkeys(drawn, name))
            left -= share
    return [replace(row, split=splits[row.name]) for row in rows]


def _draw_images(pool: Sequence[ManifestRow], share: float, seed: int, name: str) -> list[str]:
    names, labels = [row.name for row in pool], [row.label for row in pool]
    try:
        _, drawn = train_test_split(
            names, test_size=max(1, round(share * len(names))), stratify=labels, random_state=seed
        )
    except ValueError as error:
        counts = ", ".join(f"{count} {label}" for label, count in sorted(Counter(labels).items()))
        raise UsageError(
            f"too few images to draw {share:.0%} of them for '{name}' in every class ({counts}); "
            f"give a larger --{name}-share, more images, or --{name}-share 0 for none"
        ) from error
    return list(drawn)


def _draw_patients(pool: Sequence[ManifestRow], share: float, seed: int, name: str) -> list[str]:
    """Whole patients, so that classes are shared out about alike; an image without one is a patient of its own."""
    names = np.array([row.name for row in pool])
    labels = [row.label for row in pool]
    patients = [f"patient {row.patient_id}" if row.patient_id else f"image {row.name}" for row in pool]
    fraction = Fraction(share).limit_denominator(_MOST_FOLDS)
    folds, count = fraction.denominator, len(set(patients))
    if not fraction or folds > count or folds > max(Counter(labels).values()):
        raise UsageError(
            f"{count} patients are too few to draw {share:.0%} of {len(pool)} images for '{name}'; "
            f"give a larger --{name}-share, more patients, or --{name}-share 0 for none"
        )
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a class with fewer images than folds
        parts = [part for _, part in splitter.split(names, labels, patients)]
    return names[np.concatenate(parts[: fraction.numerator])].tolist()
