"""Recordings of real hosts, lowered once for all tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import eptreplay
from eptreplay.workload.lower import lower
from eptreplay.workload.workload import Workload
from tests.conftest import Unpack

Lower = Callable[[str], Workload]


@pytest.fixture(scope="session")
def real(unpacked: Unpack, tmp_path_factory: pytest.TempPathFactory) -> Lower:
    """Return a function that gives the workload of a recording by its short name."""

    @cache
    def workload(name: str) -> Workload:
        folder: Path = tmp_path_factory.mktemp("lowered") / "ds"
        eptreplay.ingest([unpacked(name)], folder)
        return lower(folder)

    return workload
