"""An address of an unknown kind: the sentence names all kinds that are known, those of packages too."""

from __future__ import annotations

import pytest

from cxrlens import plugins
from cxrlens.errors import UsageError
from cxrlens.screening.remote import object_store
from cxrlens.screening.remote.taking import take_remote


def test_kinds_of_packages_are_among_those_that_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fsspec")
    monkeypatch.setattr(object_store, "plugin_names", {plugins.SOURCES: ["vault"]}.__getitem__)
    with pytest.raises(UsageError) as refused:
        take_remote("nosuch:///z")
    said = str(refused.value)
    assert "no address of the kind 'nosuch://'" in said
    assert all(kind in said for kind in ("s3", "dicomweb", "orthanc", "vault"))
