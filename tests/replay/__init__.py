"""Tests of replay: the engine, and the tables of its results."""
