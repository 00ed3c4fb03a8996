"""JSON Schema: from texts, values and Python types to a guide, and back to values."""
