"""Drafts from stores of texts: by the last tokens, or by hidden states."""
