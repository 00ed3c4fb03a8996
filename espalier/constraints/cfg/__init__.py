"""Context-free grammars: readers of notations, and grammars to start from."""
