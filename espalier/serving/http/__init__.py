"""The server over HTTP: OpenAI's endpoints, their parameters, and the errors that they answer with."""
