"""Compiled kernels are kept where only we can write, and never outlive the sources that they were made from."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import pytest
from numba.core import config

from eptreplay import jit


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let caches go below ``tmp_path``: ``home`` for the user's, ``tmp`` for temporary files."""
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path


def test_the_cache_is_the_user_s(places: Path) -> None:
    found = Path(jit._cache_directory(jit.DECODER) or "")
    assert found.parent == places / "home" / "eptreplay"
    assert found.stat().st_mode & 0o777 == 0o700


def test_a_chosen_cache_comes_first(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(places / "chosen"))
    assert Path(jit._cache_directory(jit.DECODER) or "").parent == places / "chosen"


def test_where_the_home_cannot_be_written_the_cache_is_temporary(places: Path) -> None:
    (places / "home").touch()
    assert Path(jit._cache_directory(jit.DECODER) or "").parent == places / "tmp" / f"eptreplay-kernels-{os.getuid()}"


def test_where_nothing_can_be_written_there_is_no_cache(places: Path) -> None:
    (places / "home").touch()
    (places / "tmp").touch()
    assert jit._cache_directory(jit.DECODER) is None


def test_without_a_home_the_cache_is_temporary(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "expanduser", nobody)
    assert Path(jit._cache_directory(jit.DECODER) or "").parent.parent == places / "tmp"


def test_on_full_disks_there_is_no_cache_unless_it_is_there_already(
    places: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    def no_temporary_folder() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(tempfile, "gettempdir", no_temporary_folder)
    assert jit._cache_directory(jit.DECODER) is None
    directory = places / "home" / "eptreplay" / jit._source_hash(jit.DECODER)
    assert list(directory.iterdir()) == []
    (directory / "decode.decode-80.py311.1.nbc").touch()
    assert jit._cache_directory(jit.DECODER) == str(directory)


def test_code_in_a_folder_of_somebody_else_is_not_run(places: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: places.stat().st_uid + 1)
    assert jit._cache_directory(jit.DECODER) is None


def test_the_cache_changes_with_the_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = jit._source_hash(jit.DECODER)
    assert jit._source_hash(jit.DECODER) == before
    package = tmp_path / "eptreplay" / "xentrace"
    package.mkdir(parents=True)
    (package / "kernels.py").write_text("")
    monkeypatch.setattr(jit, "__file__", str(tmp_path / "eptreplay" / "jit.py"))
    empty = jit._source_hash(jit.DECODER)
    (package / "kernels.py").write_text("pass")
    assert len({before, empty, jit._source_hash(jit.DECODER)}) == 3


def test_numbers_that_kernels_take_from_elsewhere_count_as_sources() -> None:
    package = Path(jit.__file__).parent
    for folders, constants in jit.CONSTANTS.items():
        known = {f"eptreplay.{name.removesuffix('.py').replace('/', '.')}" for name in constants}
        for module in [path for folder in folders for path in (package / folder).glob("*.py")]:
            text = module.read_text()
            if "@part" not in text and "@piece" not in text and "@kernel" not in text:
                continue
            for name in re.findall(r"^(?:from|import) (eptreplay\.\S+)(?: import (?!\())?", text, re.MULTILINE):
                inside = name.split(".")[1] in {*folders, "jit"}
                assert inside or name in known | {"eptreplay.strategies", "eptreplay.workload.workload"}, module


def test_bounds_checks_have_a_cache_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    before = jit._source_hash(jit.DECODER)
    monkeypatch.setattr(config, "BOUNDSCHECK", "another setting")
    assert jit._source_hash(jit.DECODER) != before


def test_compiled_code_is_found_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "DISABLE_JIT", 0)
    monkeypatch.setitem(jit._directories, jit.DECODER, str(tmp_path))
    assert not jit.is_compiled(jit.DECODER)
    (tmp_path / "xentrace_1").mkdir()
    (tmp_path / "xentrace_1" / "decode.decode-80.py311.1.nbc").touch()
    assert jit.is_compiled(jit.DECODER)
    monkeypatch.setitem(jit._directories, jit.DECODER, None)
    assert not jit.is_compiled(jit.DECODER)
    monkeypatch.setattr(config, "DISABLE_JIT", 1)
    assert jit.is_compiled(jit.DECODER)


def test_declaring_a_kernel_leaves_other_users_of_numba_alone() -> None:
    before = config.CACHE_DIR  # type: ignore[attr-defined]  # set at run time

    @jit.kernel
    def double(x: int) -> int:
        return 2 * x

    assert double(21) == 42
    assert before == config.CACHE_DIR  # type: ignore[attr-defined]
