"""The dashboard: pages for people at `/`, behind a login with the API_TOKEN.

This room's front knows no NiceGUI, which takes a fifth of a second of processor time to import:
`esteira.web.dashboard.nicegui_mount` does, and is imported only where the dashboard is on.
"""
