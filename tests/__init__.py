"""The tests of eptreplay; a package, so that reference implementations can be imported by name."""
