"""Prompts: one file each, with its text, source, licence and what was changed."""
