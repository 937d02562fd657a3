"""What is to be replayed how: strategies and presets, locks, profiles, seeds, checked before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eptreplay.errors import UsageError, unknown_choice
from eptreplay.machine.profile import Profile, find_profiles
from eptreplay.replay import rows as r
from eptreplay.replay.simulate import check_strategy
from eptreplay.strategies.presets import Preset, find_presets
from eptreplay.strategies.registry import find_strategies, find_strategy
from eptreplay.strategies.strategy import Strategy
from eptreplay.workload.entries import PATHS

DEFAULT_PRESETS = ("xen-4.6", "xen-4.7", "xen-4.22")
"""What is compared if the user names neither a strategy nor a preset."""
LOCKS = ("queue",)
"""Policies of the p2m lock that are modelled."""
DEFAULT_LOCK = "queue"
DEFAULT_PROFILE = "two-socket"
UNSEEN = ("present", "absent")
DETAILS = ("summary", "full")
LARGEST_SEED = (1 << 63) - 1


class Subject(NamedTuple):
    """What rows of a result are about: a strategy, as such or as that of a preset, with each of some locks."""

    strategy: Strategy
    locks: tuple[str, ...]
    preset: Preset | None = None

    @property
    def release(self) -> str | None:
        """Name of the preset, if it is one."""
        return self.preset.name if self.preset else None

    @property
    def label(self) -> str:
        """What rows are called: as the preset, else as the strategy."""
        return self.release or self.strategy.name


@dataclass(frozen=True)
class Plan:
    """What is to be replayed how, checked.

    ``unseen``: what entries were of which nothing is known, or None if the user did not say; then they are present.
    ``paths``: the release as which Xen writes entries.
    ``presets``: of each preset what it stands for here, in words.
    """

    subjects: tuple[Subject, ...]
    profiles: tuple[Profile, ...]
    seeds: tuple[int, ...]
    unseen: str | None
    detail: str
    paths: str = PATHS[-1]
    presets: tuple[str, ...] = ()

    @property
    def labels(self) -> list[str]:
        """What rows are called, without what else they differ in."""
        return [subject.label for subject in self.subjects]

    @property
    def locks(self) -> list[str]:
        """Policies of the p2m lock that some row has."""
        return list(dict.fromkeys(lock for subject in self.subjects for lock in subject.locks))

    @property
    def runs(self) -> list[tuple[r.Run, Profile]]:
        """The rows of ``runs``: strategies, then presets; of each its locks, profiles, seeds, the last fastest."""
        combined = [
            (subject, lock, profile, seed)
            for subject in self.subjects
            for lock in subject.locks
            for profile in self.profiles
            for seed in self.seeds
        ]
        return [
            (r.Run(number, subject.strategy, lock, profile.name, seed, subject.release), profile)
            for number, (subject, lock, profile, seed) in enumerate(combined)
        ]


def plan(
    strategies: Sequence[str] = (),
    presets: Sequence[str] = (),
    locks: Sequence[str] = (),
    profiles: Sequence[str] = (),
    seed: int = 0,
    seeds: int = 1,
    unseen: str | None = None,
    detail: str = "summary",
    paths: str = PATHS[-1],
) -> Plan:
    """Check what the user asked for; raises UsageError."""
    for lock in locks:
        if lock not in LOCKS:
            raise unknown_choice("--lock", lock, LOCKS)
    if unseen is not None and unseen not in UNSEEN:
        raise unknown_choice("--unseen", unseen, UNSEEN)
    if detail not in DETAILS:
        raise unknown_choice("--detail", detail, DETAILS)
    if paths not in PATHS:
        raise unknown_choice("--paths", paths, PATHS)
    if seeds < 1 or not 0 <= seed <= LARGEST_SEED - seeds:
        raise UsageError(f"--seed {seed} --seeds {seeds}: expected seeds from 0 to {LARGEST_SEED - 1}, one at least")
    if not strategies and not presets:
        presets = DEFAULT_PRESETS
    wanted = tuple(dict.fromkeys(locks))
    subjects = (
        *(Subject(strategy, wanted or (DEFAULT_LOCK,)) for strategy in find_strategies(strategies)),
        *(_of_preset(preset, wanted) for preset in find_presets(presets)),
    )
    _check(subjects)
    return Plan(
        subjects,
        tuple(find_profiles(profiles or (DEFAULT_PROFILE,))),
        tuple(range(seed, seed + seeds)),
        unseen,
        detail,
        paths,
        tuple(_in_words(subject.preset, subject.locks, given=bool(locks)) for subject in subjects if subject.preset),
    )


def _of_preset(preset: Preset, locks: tuple[str, ...]) -> Subject:
    """Return what a preset is replayed as: with its own lock, unless the user named others or it is not modelled."""
    own = preset.lock if preset.lock in LOCKS else DEFAULT_LOCK
    return Subject(find_strategy(preset.strategy), locks or (own,), preset)


def _check(subjects: Sequence[Subject]) -> None:
    """Raise UsageError for strategies that cannot be replayed, and for one that has the name of a preset beside it."""
    presets = {subject.label for subject in subjects if subject.preset}
    for subject in subjects:
        if subject.preset is None and subject.label in presets:
            raise UsageError(
                f"-s {subject.label}: there is a preset of that name, too; each row of a result needs a name of its own"
            )
        check_strategy(subject.strategy)


def _in_words(preset: Preset, locks: tuple[str, ...], *, given: bool) -> str:
    what = f"{preset.name}: {preset.strategy}, lock {', '.join(locks)}"
    if locks == (preset.lock,):
        return what
    return f"{what} in place of {preset.lock}, {'as --lock says' if given else 'which is not modelled yet'}"
