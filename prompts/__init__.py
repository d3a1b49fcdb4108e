"""Prompt files: each has the text of a prompt, its source, licence and changes."""
