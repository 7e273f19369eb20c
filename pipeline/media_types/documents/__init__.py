"""PDF and documents in text: plain text, RTF, XML, vCard, OFX."""
