"""Replay of a workload under any number of strategies, and the tables of its results."""
