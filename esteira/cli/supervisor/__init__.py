"""Runs the parts of Esteira (Valkey, web app, workers) under one process, which starts again those that die."""
