"""What screening needs can be imported where torch is not wanted, or not there."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = (
    "cxrlens",
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


@pytest.mark.parametrize("module", MODULES)
def test_modules_leave_torch_alone(module: str):
    code = f"import sys, {module}; print(*sorted({{'torch', 'torchvision', 'lightning', 'captum'}} & set(sys.modules)))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
