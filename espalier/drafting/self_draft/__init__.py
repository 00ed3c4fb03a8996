"""Self-speculation: a part or a rounded copy of the target drafts for the whole."""
