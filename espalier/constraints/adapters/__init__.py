"""Our guides in other libraries."""
