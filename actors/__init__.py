"""The queue in Redis, the Dramatiq broker and its actors, and `process_media()`, which hands attachments over."""
