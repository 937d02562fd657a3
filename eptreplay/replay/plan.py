"""What is to be replayed how: strategies and presets, locks, profiles, seeds, checked before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from eptreplay.errors import UsageError, unknown_choice
from eptreplay.machine.profile import Profile, find_profiles, load_profile
from eptreplay.replay import rows as r
from eptreplay.replay.recorded import RecordedHost
from eptreplay.replay.simulate import check_strategy
from eptreplay.strategies.presets import PRESETS, Preset, find_presets
from eptreplay.strategies.registry import FILE_SUFFIX, STRATEGIES, find_strategies, find_strategy
from eptreplay.strategies.strategy import Strategy
from eptreplay.workload.entries import PATHS
from eptreplay.workload.inject import Injection, parse_injections
from eptreplay.workload.think import UNSCALED, check_think_scale

DEFAULT_PRESETS = ("xen-4.6", "xen-4.7", "xen-4.22")
"""What is compared if the user names neither a strategy nor a preset."""
LOCKS = ("unfair", "queue", "percpu")
"""Policies of the p2m lock."""
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
    ``recorded``: what ran while recording, if its costs are to be taken out of the gaps.
    ``injections``: work that is added to the recording's. ``think_scale``: what its gaps are multiplied by.
    """

    subjects: tuple[Subject, ...]
    profiles: tuple[Profile, ...]
    seeds: tuple[int, ...]
    unseen: str | None
    detail: str
    paths: str = PATHS[-1]
    presets: tuple[str, ...] = ()
    recorded: RecordedHost | None = None
    injections: tuple[Injection, ...] = ()
    think_scale: float = UNSCALED

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
    recorded_as: str | None = None,
    recorded_on: str | None = None,
    inject: Sequence[str] = (),
    think_scale: float = UNSCALED,
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
    check_think_scale(think_scale)
    injections = parse_injections(inject)
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
        tuple(_in_words(subject.preset, subject.locks) for subject in subjects if subject.preset),
        _recorded(recorded_as, recorded_on),
        injections,
        float(think_scale),
    )


def _of_preset(preset: Preset, locks: tuple[str, ...]) -> Subject:
    """Return what a preset is replayed as: with its own lock, unless the user named others."""
    return Subject(find_strategy(preset.strategy), locks or (preset.lock,), preset)


def _recorded(name: str | None, profile: str | None) -> RecordedHost | None:
    """Return what ran while recording, by the name of a strategy or a preset, and that of a profile; both or neither.

    Of a strategy alone nobody knows the lock; it is taken to be the default one.
    """
    if name is None and profile is None:
        return None
    if name is None or profile is None:
        given, lacks = ("--recorded-on", "--recorded-as") if name is None else ("--recorded-as", "--recorded-on")
        raise UsageError(f"{given} {name or profile}: expected {lacks} as well: what ran there costs what it did there")
    if preset := PRESETS.get(name):
        strategy, lock = find_strategy(preset.strategy), preset.lock
    elif name in STRATEGIES or FILE_SUFFIX in name:
        strategy, lock = find_strategy(name), DEFAULT_LOCK
    else:
        raise unknown_choice("--recorded-as", name, [*PRESETS, *STRATEGIES, "file.py:NAME"])
    check_strategy(strategy)
    return RecordedHost(strategy, lock, load_profile(profile), preset.name if preset else strategy.name)


def _check(subjects: Sequence[Subject]) -> None:
    """Raise UsageError for strategies that cannot be replayed, and for one that has the name of a preset beside it."""
    presets = {subject.label for subject in subjects if subject.preset}
    for subject in subjects:
        if subject.preset is None and subject.label in presets:
            raise UsageError(
                f"-s {subject.label}: there is a preset of that name, too; each row of a result needs a name of its own"
            )
        check_strategy(subject.strategy)


def _in_words(preset: Preset, locks: tuple[str, ...]) -> str:
    what = f"{preset.name}: {preset.strategy}, lock {', '.join(locks)}"
    return what if locks == (preset.lock,) else f"{what} in place of {preset.lock}, as --lock says"
