"""What happens to one attachment, from its source to its announcement. Knows no queue, no web, no command line."""
