"""The HTTP API: attachments, content, replays, controls, failures, webhooks, health and metrics."""
