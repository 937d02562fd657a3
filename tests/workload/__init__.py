"""Tests of the step from records to operations."""
