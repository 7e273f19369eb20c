"""Authentication and authorisation: API tokens, session tokens, signed links and browser logins."""
