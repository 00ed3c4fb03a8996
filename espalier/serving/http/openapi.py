"""The description of the server in OpenAPI, from the bodies that it reads."""

from __future__ import annotations

from typing import Any

from espalier.serving.http.request_fields import Chat, Completions, Strict

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "param", "code"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
        }
    },
}
_STATUSES = ("400", "401", "404", "405", "408", "413", "422", "429", "500", "501", "503")


def openapi(tokenize: type[Strict], detokenize: type[Strict], keys: bool) -> dict[str, Any]:
    """OpenAPI 3.1, with the schema of every body.

    >>> sorted(openapi(Chat, Chat, False)["paths"])[0]
    '/detokenize'
    """
    import espalier

    schemas: dict[str, Any] = {"Error": _ERROR}
    bodies: dict[str, type[Strict]] = {
        "/v1/chat/completions": Chat,
        "/v1/completions": Completions,
        "/v1/chat/completions/input_tokens": Chat,
        "/tokenize": tokenize,
        "/detokenize": detokenize,
    }
    paths: dict[str, Any] = {}
    for path, body in bodies.items():
        schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= schema.pop("$defs", {}) | {body.__name__: schema}
        content: dict[str, Any] = {"application/json": {"schema": {"type": "object"}}}
        if path in ("/v1/chat/completions", "/v1/completions"):
            content["text/event-stream"] = {"schema": {"type": "string"}}
        reference = {"schema": {"$ref": f"#/components/schemas/{body.__name__}"}}
        asked = {"required": True, "content": {"application/json": reference}}
        paths[path] = {"post": {"requestBody": asked, "responses": _responses(content)}}
    for path in ("/v1/models", "/version", "/props", "/openapi.json", "/health", "/ready"):
        paths[path] = {"get": {"responses": _responses({"application/json": {"schema": {"type": "object"}}})}}
    name = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
    found = _responses({"application/json": {"schema": {"type": "object"}}})
    paths["/v1/models/{id}"] = {"get": {"parameters": [name], "responses": found}}
    paths["/metrics"] = {"get": {"responses": _responses({"text/plain": {"schema": {"type": "string"}}})}}
    made = {
        "openapi": "3.1.0",
        "info": {"title": "Espalier", "version": espalier.__version__},
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }
    return made | ({"security": [{"key": []}]} if keys else {})


def _responses(content: dict[str, Any]) -> dict[str, Any]:
    error = {"description": "an error", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}}
    return {"200": {"description": "the answer", "content": content}, **dict.fromkeys(_STATUSES, error)}
