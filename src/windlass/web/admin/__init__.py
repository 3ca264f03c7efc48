"""What the dashboard is made of: its JSON API (`docs/design/api.md`), who may use it, and its page."""
