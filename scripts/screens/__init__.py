"""Screenshots of the dashboard for docs/dashboard.md and for reviews of its design."""
