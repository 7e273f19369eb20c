"""Processes one attachment, from its source to the event that reports its outcome.

This package knows no queue, no web framework and no command line.
"""
