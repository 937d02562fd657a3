"""Strategies: the values that ship, and those out of users' files."""
