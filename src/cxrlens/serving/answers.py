"""The models of the HTTP API: the server's answers, and the requests that have a body of their own."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

from cxrlens.inspection.record import ImageRecord, ImageTriage
from cxrlens.saliency.recorded_resize import RecordedGrid, RecordedInterpolation
from cxrlens.screening.reasons import Reason
from cxrlens.screening.store.verdicts import AuditEntry, Grounds, KeptVerdict, Key, Verdict

Decision: TypeAlias = Literal["normal", "affected"]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Problem(_Answer):
    """Why a request was not answered, in one sentence."""

    detail: str


class Health(_Answer):
    """The server runs and its model is loaded."""

    status: Literal["ok"] = "ok"
    version: str


class Model(_Answer):
    """The facts of the model's card.

    Attributes:
        name: of the model file; ``sha256`` of its content.
        label: the short name that people know it by: that under which it is kept, or of its run's folder.
        size: of the network's input in words.
        runtime: what runs the network, torch, onnx or openvino.
        precision: in which it multiplies, f32, bf16 or int8.
        threshold: probability from which on an image is affected, a suggested retake.
        review_threshold: probability from which on an image is to be reviewed; null for a model that is not calibrated.
        prevalence: share of affected images at the site that the probabilities hold for; null likewise.
        dev_scores: scores on its own dev images when the model was saved.
        remarks: what a reader of its numbers must know, a sentence each.
        max_upload: largest upload that the server takes, in bytes; ``max_pixels`` the largest picture.
    """

    name: str
    label: str
    sha256: str
    architecture: str
    size: str
    device: str
    runtime: str
    precision: str
    threshold: float
    review_threshold: float | None
    calibrated: bool
    prevalence: float | None
    dev_scores: dict[str, float | None]
    remarks: tuple[str, ...]
    cxrlens_version: str
    created: str
    max_upload: int
    max_pixels: int


class Method(_Answer):
    """A saliency method that ``/api/check`` takes.

    Attributes:
        has_layers: whether its map depends on the choice of layers.
        layers: the choices that it takes; none where it reads no layer. A module's name is taken too.
    """

    id: str
    title: str
    formula: str
    cost: str
    source: str
    has_layers: bool
    layers: tuple[str, ...]


class Methods(_Answer):
    """The methods, and which is taken where none is named.

    Attributes:
        grid: of the maps' resize, as the server was started; likewise ``interpolation`` and ``flip``.
    """

    methods: tuple[Method, ...]
    default_method: str
    default_layers: str
    grid: str
    interpolation: str
    flip: bool


class Checked(_Answer):
    """What the model says of an uploaded image.

    Attributes:
        key: SHA-256 of the file's content.
        probability: of *affected*, in [0, 1]; calibrated where the model is. Null where the image cannot be judged.
        decision: from the model's threshold on "affected"; null likewise.
        triage: by a calibrated model; "retake" is "affected", and an image with doubts is at least to be reviewed.
            "not_assessable" by any model, of an image that cannot be judged.
        reason: why the decision is what it is, or why there is none, in words.
        origin: the kind of file: "JPEG", "DICOM DX" ...
        height: of the stored image as seen upright, in pixels; likewise ``width``.
        layers: "input" for a method that reads no layer.
        grid: of the map's resize, as it was done, see docs/methods.md; "" of a method that reads no layer, likewise
            ``interpolation``.
        flip: whether the map is the mean with that of the mirrored image.
        flat: whether the map is constant, so that it shows nothing and has no peak.
        peak: (row, column) of the map's highest point, in pixels of the stored image.
        contours: closed polygons [(x, y), ...] around what exceeds half the map's maximum, in stored pixels.
        distance: from the radiographs that the model knows, above 1 for one that it cannot judge; null where it cannot
            tell.
        picture: preview as a ``data:`` address: grey JPEG of at most 1024 px.
        map: the map as a ``data:`` address: 8-bit grey PNG of the picture at the network's scale, 255 = highest. It
            covers the whole picture. "" where the image cannot be judged; so are ``method`` and ``layers``.
        remarks: sentences on what looks wrong in the picture, or was not taken as the file says.
        doubts: those of the remarks by which the picture may not be displayed as it was meant.
        refusals: those of the remarks by which the image cannot be judged.
    """

    key: Key
    probability: Annotated[float | None, Field(ge=0, le=1)]
    decision: Decision | None
    triage: ImageTriage | None
    reason: str
    origin: str
    height: int
    width: int
    method: str
    layers: str
    smooth: float | None
    grid: RecordedGrid
    interpolation: RecordedInterpolation
    flip: bool
    flat: bool
    peak: tuple[int, int] | None
    contours: tuple[tuple[tuple[float, float], ...], ...]
    distance: float | None
    picture: str
    map: str
    remarks: tuple[str, ...]
    doubts: tuple[str, ...]
    refusals: tuple[str, ...]


def _without_defaults(schema: dict[str, Any]) -> None:
    """Describe a record as an answer is: all its fields are there, and bounds are a matter of what is read."""
    for field in schema["properties"].values():
        for kind in (field, *field.get("anyOf", ())):
            for word in ("default", "minimum", "maximum"):
                kind.pop(word, None)


class WorklistImage(ImageRecord):
    """One file of the screened folder; the fields are those of ``results.jsonl`` without patient data.

    Attributes:
        key: "" where the file could not be read at all; it can then have no verdict.
        picture: address of the preview, "" where there is none; likewise ``map``.
        verdict: the reader's, "none" where there is none.
        conflict: whether readers contradict each other on it, as far as this one may see.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True, json_schema_extra=_without_defaults)

    verdict: Verdict
    conflict: bool


class Worklist(_Answer):
    """A part of the worklist, the most probable images first, behind them what cannot be judged, and last what could
    not be read.

    Attributes:
        folder: name of the screened folder.
        model: name of the model file that it was screened with.
        same_model: whether that is the model of this server.
        created: when it was screened, "" where that is not known.
        remark: what a reader must know of the list, "" where there is nothing.
        threshold: as the images were screened; likewise ``review_threshold``.
        total: images in the list, of which so many are ``shown`` under the filter; likewise ``unreadable``,
            ``decided``, those that the reader has judged, and ``conflicts``, those whose readers contradict each other.
        offset: place of the first image of this part among those shown.
        images: the part.
    """

    folder: str
    model: str
    same_model: bool
    created: str
    remark: str
    threshold: float
    review_threshold: float | None
    total: int
    shown: int
    unreadable: int
    decided: int
    conflicts: int
    offset: int
    images: tuple[WorklistImage, ...]


class NewVerdict(Grounds):
    """A reader's verdict on the image of a key: "accept" (fit for reading), "retake", or "none" to withdraw one.

    Attributes:
        seen: the verdict that stood when the reader looked; where another one stands by now, nothing is changed.
            Null replaces whatever stands.
        seen_grounds: the reason, the comment and the drawn objects that were seen with it; where others stand by now,
            nothing is changed either. Null replaces whatever went along.
        reader: who gives it, as the client believes; where the request brings the token of another one, it is refused.
            Null leaves that to the token.
        id: a number that the client draws for this verdict, 32 hexadecimal digits. A request that is sent again with it
            is answered as it was at first, and never given twice.
        reason: id of why the image is to be retaken, of those that the folder has; "" where none is given.
        comment: what the reader wrote.
        marks: what the reader drew on the picture.
    """

    key: Key
    verdict: Verdict
    seen: Verdict | None = None
    seen_grounds: Grounds | None = None
    reader: str | None = None
    id: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None

    @field_validator("comment")
    @classmethod
    def _no_sign_that_databases_refuse(cls, comment: str) -> str:
        if "\0" in comment:
            raise ValueError("holds the sign of number 0, which is no text; leave it out")
        return comment

    @property
    def grounds(self) -> Grounds:
        """Why it is given."""
        return Grounds(reason=self.reason, comment=self.comment, marks=self.marks)


class Verdicts(_Answer):
    """The verdicts that stand, of all readers whose verdicts the one who asks may see."""

    verdicts: tuple[KeptVerdict, ...]


class ReviewFacts(_Answer):
    """How the screened folder is reviewed.

    Attributes:
        reader: the name of the one who asks; "" where the server does not know its readers.
        blind: whether verdicts of others are seen only on images that this reader has judged.
        reasons: for a retake, in the order in which they are shown.
        longest_comment: characters that a comment may have.
        most_marks: objects that may be drawn on an image.
    """

    reader: str
    blind: bool
    reasons: tuple[Reason, ...]
    longest_comment: int
    most_marks: int


class News(_Answer):
    """What has come last; where neither has changed, nothing has.

    Attributes:
        entry: id of the last entry of the audit log, 0 of an empty one.
        result: likewise of the last result of a screening.
        reader: the name of the one who asks; "" where the server does not know its readers.
    """

    entry: int
    result: int
    reader: str


class PairAgreement(_Answer):
    """Two readers on the images that both have judged, with their verdicts as they first stood side by side.

    Attributes:
        readers: their names.
        images: that both have judged.
        both_accept: images that both accept; likewise ``both_retake``.
        first_retakes: images that the first reader alone wants to be retaken; likewise ``second_retakes``.
        kappa: Cohen's; null where it is not defined, since both have said the same of all images.
        low: end of its interval of 95 %, by resampling images; likewise ``high``; null likewise.
    """

    readers: tuple[str, str]
    images: int
    both_accept: int
    both_retake: int
    first_retakes: int
    second_retakes: int
    kappa: float | None
    low: float | None
    high: float | None


class ReaderAgreement(_Answer):
    """How far each two readers agree."""

    pairs: tuple[PairAgreement, ...]


class Audit(_Answer):
    """A part of the audit log, oldest first.

    Attributes:
        total: entries in the log.
    """

    total: int
    entries: tuple[AuditEntry, ...]
