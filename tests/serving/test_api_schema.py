"""The OpenAPI document is what the server does: requests made from it give no server error and conform."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from serving_files import asking, running, screened

from cxrlens.inspection.quality_model import QualityModel
from cxrlens.serving.app import create_app
from cxrlens.serving.settings import ServerSettings
from waiting import PATIENCE

schemathesis = pytest.importorskip("schemathesis")

TOKEN = "a-token-of-32-signs.~_0123456789"


@pytest.fixture(scope="module")
def address(served_model: QualityModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a token and a folder, so that all routes answer and all statuses occur."""
    folder = screened(tmp_path_factory.mktemp("screened")).path
    app = create_app(ServerSettings(token=TOKEN, max_upload=100_000), served_model, folder)
    with running(app) as url:
        yield url


def test_requests_of_the_document(address: str) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    from schemathesis.checks import positive_data_acceptance

    schema = schemathesis.openapi.from_url(f"{address}/api/openapi.json", headers=headers, timeout=PATIENCE)
    count = 0
    for found in schema.get_all_operations():

        @given(case=found.ok().as_strategy())
        @settings(
            max_examples=8,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def holds(case: schemathesis.Case) -> None:
            nonlocal count
            count += 1
            # What fits the document as an upload, any bytes, is hardly ever an image.
            excluded = [positive_data_acceptance] if case.path == "/api/check" else []
            case.call_and_validate(headers=headers, excluded_checks=excluded, timeout=PATIENCE)

        holds()
    assert count > 40


def test_all_routes_are_described(address: str) -> None:
    with asking(address, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        document = client.get("/api/openapi.json").json()
    assert set(document["paths"]) == {
        "/health",
        "/metrics",
        "/api/model",
        "/api/methods",
        "/api/check",
        "/api/worklist",
        "/api/worklist/{key}/picture",
        "/api/worklist/{key}/map",
        "/api/review",
        "/api/verdicts",
        "/api/verdicts.csv",
        "/api/objects.csv",
        "/api/agreement",
        "/api/news",
        "/api/audit",
    }
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert operation["description"]
            assert ("401" in operation["responses"]) == (path != "/health")
            for status, response in operation["responses"].items():
                if status >= "400":
                    (content,) = response["content"].values()
                    assert content["schema"]["$ref"] == "#/components/schemas/Problem"
