"""The kinds of slots: `loop` (the runner's event loop), `thread`, `process`."""
