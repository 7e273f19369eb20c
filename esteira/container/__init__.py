"""Runs Esteira in a container: `python -m esteira.container [start|web|worker|COMMAND …]` is the image's entry point.

`init` is process 1, which passes signals on and reaps processes; `roles` says which program each word starts; `health`
is the image's health check.
"""
