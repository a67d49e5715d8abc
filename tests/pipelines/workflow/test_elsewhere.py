"""Settings for what other runs made: the root of the run itself is refused, however it is written."""

from pathlib import Path

import pytest

from pipelines.data import Curate
from pipelines.workflow.elsewhere import check_elsewhere
from vlp_core.curation.settings import Dedup
from vlp_core.errors import UserError


def test_a_run_is_not_told_to_leave_out_its_own_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    for folder in (root, other):
        folder.mkdir()
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(tmp_path)
    check_elsewhere(Curate(dedup=Dedup(against=(other, root / "hash" / "0123"))), root)
    for own in (root, Path("root"), tmp_path / "link", other / ".." / "root"):
        with pytest.raises(UserError, match=r"^--dedup\.against .*: is the root of this very run.*; give another"):
            check_elsewhere(Curate(dedup=Dedup(against=(other, own))), root)
