"""Where attachments come from: one module a gateway."""
