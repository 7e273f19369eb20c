"""The steps of one attachment: fetch, detect, validate, persist and notify; and its preview."""
