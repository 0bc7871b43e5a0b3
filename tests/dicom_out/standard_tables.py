"""DICOM's tables of modules and attributes for dicom-validator, from those that highdicom brings.

dicom-validator reads them from the standard's text, which it downloads. highdicom ships the same tables (which
attributes an object has, of which type, nested how), without conditions and enumerated values: here, an attribute that
is required under a condition may be there or not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import highdicom
from dicom_validator.validator.dicom_info import DicomInfo
from pydicom.datadict import keyword_dict, tag_for_keyword

_CONTENT = "sr-document-content"
_USAGES = {"M": "M", "U": "U", "C": "U"}


def dicom_info(*sop_classes: str) -> DicomInfo:
    """The tables for some SOP classes."""
    folder = Path(highdicom.__file__).with_name("_standard")
    iod_of = json.loads((folder / "sop_class_iod_map.json").read_text())
    modules_of = json.loads((folder / "iod_module_map.json").read_text())
    attributes_of = json.loads((folder / "module_attribute_map.json").read_text())
    iods: dict[str, dict[str, Any]] = {}
    needed: set[str] = set()
    for uid in sop_classes:
        entries = modules_of[iod_of[uid]]
        needed.update(entry["key"] for entry in entries)
        modules = {entry["key"]: {"ref": entry["key"], "use": _USAGES[entry["usage"]]} for entry in entries}
        iods[uid] = {"title": iod_of[uid], "modules": modules, "group_macros": {}}
    modules = {key: _module(key, attributes_of[key]) for key in needed}
    dictionary = {_tag(keyword): {"name": keyword, "vr": "", "prop": ""} for keyword in keyword_dict if keyword}
    return DicomInfo(dictionary, iods, modules)


def _module(key: str, attributes: list[dict[str, Any]]) -> dict[str, Any]:
    module: dict[str, Any] = {}
    for attribute in sorted(attributes, key=lambda entry: len(entry["path"])):
        if key == _CONTENT and "ContentSequence" in attribute["path"]:
            continue  # the same again, to any depth
        if tag_for_keyword(attribute["keyword"]) is None:
            continue  # overlays, whose groups repeat
        level = module
        for keyword in attribute["path"]:
            level = level.setdefault(_tag(keyword), {"name": keyword, "type": "3"}).setdefault("items", {})
        kind = attribute["type"]
        if key == _CONTENT and not attribute["path"] and attribute["keyword"] != "ValueType":
            kind = "3"  # the table joins those of all kinds of content items
        level.setdefault(_tag(attribute["keyword"]), {}).update(name=attribute["keyword"], type=kind)
        if kind in ("1C", "2C"):
            level[_tag(attribute["keyword"])]["cond"] = {"type": "U"}
    if key == _CONTENT:
        module[_tag("ContentSequence")] = {
            "name": "ContentSequence",
            "type": "3",
            "items": {"include": [{"ref": _CONTENT}], _tag("RelationshipType"): {"name": "", "type": "1"}},
        }
    return module


def _tag(keyword: str) -> str:
    tag = tag_for_keyword(keyword)
    assert tag is not None, keyword
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
