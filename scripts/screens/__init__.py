"""Pictures of the dashboard, for docs/dashboard.md and for whoever changes its looks."""
