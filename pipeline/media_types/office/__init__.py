"""Office documents: OLE compound files and OPC packages."""
