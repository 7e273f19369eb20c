"""The steps of one attachment: fetch, detect, validate, persist, notify, and its preview."""
