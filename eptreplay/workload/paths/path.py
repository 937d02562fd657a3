"""A write path: its name, the function of Xen that it is, and the Python function that says what it does."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, getdoc, signature
from typing import NamedTuple

from eptreplay.workload.paths.act import TODAY, Act, Acts, Era


class Path(NamedTuple):
    """A write path. Its parameters, and their defaults, are those of ``emit``; so is its text."""

    name: str
    xen: str
    """Function or hypercall."""
    emit: Callable[..., Acts]
    """Returns the acts. It takes ``era`` if the path depends on it."""
    before: Callable[[], Acts] | None = None
    """Returns what makes the tables that the path finds by default, where its acts alone do not tell them."""

    @property
    def summary(self) -> str:
        """What happens, in a sentence."""
        return self._text[0]

    @property
    def about(self) -> str:
        """What the parameters mean, and what else is to be known."""
        return self._text[1]

    @property
    def parameters(self) -> dict[str, object]:
        """Names and defaults."""
        return {name: parameter.default for name, parameter in self._signature.items() if name != "era"}

    @property
    def depends_on_era(self) -> bool:
        """Whether releases differ in it."""
        return "era" in self._signature

    def acts(self, era: Era = TODAY, **parameters: object) -> tuple[Act, ...]:
        """Return what the path does."""
        return tuple(self.emit(**parameters, **({"era": era} if self.depends_on_era else {})))

    @property
    def _signature(self) -> dict[str, Parameter]:
        return dict(signature(self.emit).parameters)

    @property
    def _text(self) -> tuple[str, str]:
        first, _, rest = (getdoc(self.emit) or "").partition("\n\n")
        return first, rest
