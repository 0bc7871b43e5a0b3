"""A run's folder as it is begun and replaced, and where that was killed."""

from __future__ import annotations

import shutil
from pathlib import Path

from cxrlens.training.fitting import read_config, start_run
from cxrlens.training.recipe import resolve_recipe
from killing import killed_before_each_change


def test_a_run_can_be_replaced_after_a_kill_at_any_moment_of_its_replacement(tmp_path: Path) -> None:
    recipe = resolve_recipe("small", {})

    def begin(run_dir: Path) -> None:
        start_run(run_dir, "resnet18", recipe, {"digest": "new"}, force=True)

    whole, run, left = (tmp_path / name for name in ("whole", "run", "left"))
    whole.mkdir()
    start_run(whole, "resnet18", recipe, {"digest": "old"})
    (whole / "checkpoints").mkdir()
    for name in ("best", "last"):
        (whole / "checkpoints" / f"{name}.ckpt").write_bytes(b"PK")
    (whole / "metrics.csv").write_text("epoch,\n")
    (whole / "model.safetensors").symlink_to("model-gone.safetensors")
    shutil.copytree(whole, run, symlinks=True)
    changes = []
    for change in killed_before_each_change(lambda: begin(run), run):
        changes.append(change)
        shutil.copytree(run, left, symlinks=True)
        begin(left)
        assert read_config(left)[2] == {"digest": "new"}, change
        assert [path.name for path in left.iterdir()] == ["config.yaml"], change
        for folder in (left, run):
            shutil.rmtree(folder)
        shutil.copytree(whole, run, symlinks=True)
    assert len(changes) > 8
    assert "os.rmdir checkpoints" in changes
    assert "os.remove config.yaml" in changes
