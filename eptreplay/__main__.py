"""``python -m eptreplay`` is the command ``eptreplay``."""

from eptreplay.commands import main

main()
