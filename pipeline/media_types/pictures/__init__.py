"""Pictures and stickers."""
