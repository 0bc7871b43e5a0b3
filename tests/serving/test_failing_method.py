"""A method of an installed package that fails in the server: the client is told, and the log has the traceback."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from serving_files import asking, check, encoded, pixels, running

from cxrlens.inspection.quality_model import QualityModel
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings
from plugged_packages import package

CODE = """
from cxrlens.saliency.methods.registry import method

@method("failing", title="", formula="", source="")
def failing(pair):
    raise ZeroDivisionError("by hand")
"""


def test_a_failing_method_is_a_fault_of_the_server_and_no_other_request_is_kept_from_its_answer(
    served_model: QualityModel, on_path: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    package(tmp_path, "plugged-failing", {"cxrlens.methods": "failing = plugged_failing:failing"}, CODE)
    package(tmp_path, "plugged-broken", {"cxrlens.methods": "broken = plugged_broken:none"})
    on_path.syspath_prepend(str(tmp_path))
    content = encoded(pixels(3))
    with (
        caplog.at_level(logging.WARNING, "cxrlens"),
        running(create_app(ServerSettings(), served_model)) as url,
        asking(url) as client,
    ):
        offered = {method["id"] for method in client.get("/api/methods").json()["methods"]}
        failed = check(client, content, method="failing", layers="last")
        broken = check(client, content, method="broken", layers="last")
        fine = check(client, content, method="grad_cam", layers="last")
    assert "failing" in offered
    assert "broken" not in offered
    assert "the package plugged-broken, which gives 'broken', cannot be loaded" in caplog.text
    assert failed.status_code == broken.status_code == 500
    assert "package plugged-failing" in failed.json()["detail"]
    assert "ZeroDivisionError: by hand, line 6 of plugged_failing.py" in failed.json()["detail"]
    assert "package plugged-broken" in broken.json()["detail"]
    assert fine.status_code == 200
    told = [record for record in caplog.records if record.exc_info]
    assert [type(record.exc_info[1].__cause__).__name__ for record in told] == ["ZeroDivisionError", "AttributeError"]
