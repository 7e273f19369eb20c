"""What the pages of attachments have in common: how one is named, shown and linked to."""
