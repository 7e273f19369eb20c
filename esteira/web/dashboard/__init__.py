"""The dashboard: pages for people at `/`, behind a login with the API_TOKEN.

Login, logout and static files (`routes.py`) work without NiceGUI, whose import takes 0.2 s of CPU time. Only
`nicegui_mount.py` and the pages import it, and only if the dashboard is switched on.
"""
