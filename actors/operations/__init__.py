"""Operator actions: replay, cancel, delete, pause and resume, statistics, and the list of workers."""
