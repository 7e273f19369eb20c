"""Operator actions: replay, cancel, pause, delete, and the list of workers."""
