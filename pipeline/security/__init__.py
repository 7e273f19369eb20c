"""WhatsApp decryption, tokens and signed links, private directories and the antivirus."""
