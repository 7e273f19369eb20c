"""Runs the stages: claims attachments, executes steps, batches deliveries, and the inline fallback."""
