"""Actions on many attachments: what is selected, how it runs in the background, and its progress on the pages."""
