"""One recording at a time, with everything that its tests share: its bytes, our reading of it, and its witnesses."""

from __future__ import annotations

import lzma
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import eptreplay
from tests.oracles import struct_reader


class Recording:
    """A recording, compressed in ``path``; what is derived from it is worked out on first use and kept."""

    def __init__(self, path: Path, work: Path) -> None:
        self.path = path
        self.work = work

    @property
    def name(self) -> str:
        """The recording's full name."""
        return self.path.name.partition(".")[0]

    @cached_property
    def data(self) -> bytes:
        """The raw xentrace stream."""
        return lzma.decompress(self.path.read_bytes())

    @cached_property
    def records(self) -> pl.DataFrame:
        """All records as we read them, in file order."""
        return eptreplay.scan_xentrace(self.path).collect()

    @cached_property
    def info(self) -> dict[str, Any]:
        """What ``eptreplay info`` says."""
        return eptreplay.info(self.path)

    @cached_property
    def specified(self) -> pl.DataFrame:
        """All records as the executable specification reads them, in file order."""
        return struct_reader.read_frame(self.data)

    @cached_property
    def dataset(self) -> Path:
        """A dataset of all records."""
        folder = self.work / "dataset"
        eptreplay.ingest([self.path], folder, events="all")
        return folder

    def table(self, name: str) -> pl.DataFrame:
        """Return a table of the dataset."""
        return eptreplay.scan(self.dataset, name).collect()

    def oracle(self, kind: str) -> bytes:
        """Return the output that another program made of this recording."""
        folder = self.path.parent / "oracle"
        plain = folder / f"{self.name}.{kind}.txt"
        return plain.read_bytes() if plain.exists() else lzma.decompress((folder / f"{plain.name}.xz").read_bytes())


@pytest.fixture(scope="session")
def recording(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """Return the recording that the test is run for; tests choose theirs with ``tests.recordings.choice``."""
    folder, name = request.param
    [path] = request.getfixturevalue(folder).glob(f"{name}*.xentrace.xz")
    return Recording(path, tmp_path_factory.mktemp(name))
