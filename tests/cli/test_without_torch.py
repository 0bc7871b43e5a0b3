"""What screening needs can be imported where torch is not wanted, or not there."""

from __future__ import annotations

import json
import subprocess
import sys

MODULES = (
    "cxrlens",
    "cxrlens.api",
    "cxrlens.api.arguments",
    "cxrlens.api.screening",
    "cxrlens.inspection.result",
    "cxrlens.cli.console",
    "cxrlens.cli.main",
    "cxrlens.cli.options",
    "cxrlens.inputs.geometry",
    "cxrlens.inputs.dataset.layouts",
    "cxrlens.inputs.preprocessing",
    "cxrlens.inputs.readers",
    "cxrlens.inputs.processes",
    "cxrlens.evaluation.pointing_game",
    "cxrlens.inputs.dataset.dataset",
    "cxrlens.models.calibration",
    "cxrlens.models.card",
    "cxrlens.models.onnx_sessions",
    "cxrlens.processor",
    "cxrlens.screening.folder",
    "cxrlens.screening.record",
    "cxrlens.inputs.names",
    "cxrlens.inspection.inspector",
    "cxrlens.inspection.model_facts",
    "cxrlens.inspection.onnx_inspector",
    "cxrlens.inspection.map_png",
    "cxrlens.inspection.record",
)


IN_TURN = """
import importlib, json, sys

found = {}
for module in sys.argv[1:]:
    for name in [name for name in sys.modules if name.partition(".")[0] == "cxrlens"]:
        del sys.modules[name]  # each is imported as the first of the package
    importlib.import_module(module)
    if heavy := sorted({"torch", "torchvision", "lightning", "captum"} & set(sys.modules)):
        found[module] = heavy
print(json.dumps(found))
"""


def test_modules_leave_torch_alone() -> None:
    found = subprocess.run([sys.executable, "-c", IN_TURN, *MODULES], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout) == {}  # once it is imported, those that come later have it too
