"""What a DICOM header says that the picture is of, as far as it speaks against a frontal radiograph of a chest.

Headers may be wrong: in one hospital, BodyPartExamined was in 15 % of the images (Gueld et al., Proc. SPIE 4685:280,
2002). So what is absent or not known here speaks against nothing, and what another element contradicts is a doubt.
Lateral views are no matter of this file, as `cxrlens.inputs.readers.dicom` does not read them.
"""

from __future__ import annotations

import re
from typing import Final

from pydicom import Dataset
from pydicom.uid import UID

from cxrlens.inputs.readers import elements
from cxrlens.inputs.readers.radiograph import Refusal
from cxrlens.inputs.readers.reasons import one_line

_RADIOGRAPHS: Final = {"CR", "DX", "RG"}
_OTHER_XRAYS: Final = {"MG": "a mammogram", "PX": "a dental panorama", "IO": "a dental radiograph"}
"""Modalities whose images are also stored in the classes of radiographs."""
_OTHERS: Final = _OTHER_XRAYS | {
    "CT": "a CT image",
    "MR": "an MR image",
    "US": "an ultrasound image",
    "IVUS": "an ultrasound image",
    "NM": "an image of nuclear medicine",
    "PT": "a PET image",
    "ST": "an image of nuclear medicine",
    "XA": "an angiogram",
    "BMD": "a measurement of bone density",
    "RTIMAGE": "an image of radiotherapy",
    "ES": "an endoscopic image",
    "XC": "a photograph",
    "GM": "a picture through a microscope",
    "SM": "a picture through a microscope",
    "OP": "a picture of an eye",
    "OPT": "a picture of an eye",
    "OCT": "an optical tomogram",
    "TG": "a thermogram",
    "DOC": "a document",
}
"""Modality (PS3.3, C.7.3.1.1.1) -> what its images are."""
_FLUOROSCOPY: Final = "RF"
_CLASSES: Final = {
    "ComputedRadiography": "CR",
    "DigitalXRay": "DX",
    "CTImage": "CT",
    "MRImage": "MR",
    "MRColorImage": "MR",
    "Ultrasound": "US",
    "NuclearMedicine": "NM",
    "PositronEmission": "PT",
    "PETImage": "PT",
    "Mammography": "MG",
    "BreastTomosynthesis": "MG",
    "IntraOral": "IO",
    "Angiographic": "XA",
    "XAImage": "XA",
    "Radiofluoroscopic": "RF",
    "XRFImage": "RF",
    "RTImage": "RTIMAGE",
    "Endoscopic": "ES",
    "Photographic": "XC",
    "Microscop": "GM",
    "Ophthalmic": "OP",
}
"""Part of the keyword of a SOP class -> the modality that it is for; secondary captures are for all."""

_CHEST: Final = re.compile(r"CHEST|THORAX|TORAX|TORACE|LUNG")
_ELSEWHERE: Final = re.compile(
    r"\b(?:SKULL|HEAD|BRAIN|FACE|FACIAL\w*|ORBITS?|EYES?|EARS?|NOSE|NASAL|(?:PARANASAL)?SINUS(?:ES)?|JAWS?|MAXILL\w+"
    r"|MANDIB\w+|TMJ|ZYGOM\w+|TOOTH|TEETH|DENTAL|C ?SPINE|CERVICAL|L ?SPINE|LS ?SPINE|S ?SPINE|LUMBAR|LUMBO\w+|SACR\w+"
    r"|COCCYX|SI ?JOINTS?|PELVI\w+|HIPS?|ABDOM\w+|KIDNEYS?|BLADDER|COLON|HUMERUS|ELBOWS?|FOREARMS?|RADIUS\w*|ULNA"
    r"|WRISTS?|HANDS?|FINGERS?|THUMBS?|ARMS?|\w*EXTREMIT\w+|SCAPHOIDS?|FEMURS?|THIGHS?|KNEES?|PATELLAS?|LEGS?|TIBIA\w*|FIBULA"
    r"|TIB ?FIB|CALF|ANKLES?|FOOT|FEET|CALCANEUS|HEELS?|TOES?|BREASTS?)\b"
)
_BESIDE: Final = re.compile(r"\b(?:SHOULDERS?|CLAVICLES?|SCAPULAS?|RIBS?|STERNUM|T ?SPINE|\w*SPINE|NECK|WHOLE ?BODY)\b")
_SERIES_TEXTS: Final = (
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "AcquisitionDeviceProcessingDescription",
)


def remarks_on_subject(dataset: Dataset) -> list[str]:
    """Sentences on what the header says against a chest radiograph that is meant for display; none where nothing is."""
    found = [_of_kind(dataset), _of_place(dataset), _of_raw_data(dataset)]
    return [remark for remark in found if remark]


def _of_kind(dataset: Dataset) -> str:
    """A remark on the kind of image, by Modality and SOP class."""
    modality = elements.text(dataset, "Modality").upper()
    class_ = _modality_of_class(dataset)
    if modality in _OTHERS:
        said = f"(Modality {modality})"
        if class_ in _RADIOGRAPHS and modality not in _OTHER_XRAYS:
            return f"It is said to be {_OTHERS[modality]} {said}, and stored as a radiograph."
        return Refusal(f"It is {_OTHERS[modality]} {said}, no chest radiograph.")
    if modality == _FLUOROSCOPY or (modality not in _RADIOGRAPHS and class_ == _FLUOROSCOPY):
        return "It is an image of fluoroscopy, which may be no radiograph of the chest."
    if modality not in _RADIOGRAPHS and class_ in _OTHERS:
        return Refusal(f"It is {_OTHERS[class_]} ({one_line(_sop_class(dataset).name)}), no chest radiograph.")
    return ""


def _sop_class(dataset: Dataset) -> UID:
    return UID(elements.text(dataset, "SOPClassUID"))


def _modality_of_class(dataset: Dataset) -> str:
    keyword = _sop_class(dataset).keyword
    return next((modality for part, modality in _CLASSES.items() if part in keyword), "")


def _of_place(dataset: Dataset) -> str:
    """A remark on the part of the body, by BodyPartExamined and the anatomic region."""
    part = elements.shown(dataset, "BodyPartExamined")
    regions = [elements.shown(region, "CodeMeaning") for region in elements.values(dataset, "AnatomicRegionSequence")]
    said = [text for text in (part, *regions) if text]
    words = [_normalised(text) for text in said]
    if any(_CHEST.search(each) for each in words):
        return ""
    for text, each in zip(said, words, strict=True):
        if _ELSEWHERE.search(each):
            if any(_CHEST.search(_normalised(elements.text(dataset, keyword))) for keyword in _SERIES_TEXTS):
                return f"It is said to be of the part '{text}', and its series to be of the chest."
            return Refusal(f"It is of another part of the body than the chest: '{text}'.")
    for text, each in zip(said, words, strict=True):
        if _BESIDE.search(each):
            return f"It is said to be of the part '{text}', which shows the chest in part at most."
    return ""


def _normalised(text: str) -> str:
    """In capitals, with one blank for all that is no letter."""
    return " ".join(re.findall(r"[^\W\d_]+", text.upper()))


def _of_raw_data(dataset: Dataset) -> str:
    if elements.text(dataset, "PresentationIntentType").upper() == "FOR PROCESSING" or (
        _sop_class(dataset).keyword.endswith("ForProcessing")
    ):
        return "It is raw data of a detector, not meant for display (FOR PROCESSING)."
    return ""
