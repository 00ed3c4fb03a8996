"""Tree policies: which slots of a draft are filled."""
