"""The built-in rerankers: one file per mechanism, registered like any plugin."""
