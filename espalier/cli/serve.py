"""`serve`: an OpenAI-compatible server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from espalier.cli.text import told
from espalier.errors import InvalidInput
from espalier.lm import LanguageModel


def _o(name: str, help: str) -> Any:
    return typer.Option(f"--{name}", help=help, envvar=f"ESPALIER_SERVE_{name.upper().replace('-', '_')}", show_default=False)


def serve(
    model: Annotated[str | None, _o("model", "Built-in name, folder, .gguf file or hub id.")] = None,
    dtype: Annotated[str | None, _o("dtype", "auto (the default), float32, bfloat16, float16, int8 or int4.")] = None,
    device: Annotated[str | None, _o("device", "cpu or cuda.")] = None,
    name: Annotated[list[str] | None, _o("name", "What clients call the model (may be repeated).")] = None,
    host: Annotated[str | None, _o("host", "The address to listen at (127.0.0.1).")] = None,
    port: Annotated[int | None, _o("port", "The port (8000); 0 is any that is free.")] = None,
    uds: Annotated[str | None, _o("uds", "A Unix socket instead of host and port.")] = None,
    api_key: Annotated[list[str] | None, _o("api-key", "A key that opens the server (may be repeated).")] = None,
    api_key_file: Annotated[str | None, _o("api-key-file", "A file of keys, one a line.")] = None,
    no_auth: Annotated[bool | None, _o("no-auth", "Everybody who reaches the address may use it.")] = None,
    cors_origin: Annotated[list[str] | None, _o("cors-origin", "An origin that browsers may call from.")] = None,
    tls_cert: Annotated[str | None, _o("tls-cert", "The certificate, for https.")] = None,
    tls_key: Annotated[str | None, _o("tls-key", "Its key.")] = None,
    running: Annotated[int | None, _o("running", "Requests that are written side by side (16).")] = None,
    queued: Annotated[int | None, _o("queued", "Requests that may wait (256); more get 429.")] = None,
    prompt_rows: Annotated[int | None, _o("prompt-rows", "Rows of prompts in one turn (64).")] = None,
    kv_mb: Annotated[float | None, _o("kv-mb", "Memory of keys and values.")] = None,
    cache_mb: Annotated[float | None, _o("cache-mb", "Of that, what ended texts may keep (1024).")] = None,
    max_output_tokens: Annotated[int | None, _o("max-output-tokens", "The most tokens of one answer.")] = None,
    max_seconds: Annotated[float | None, _o("max-seconds", "The longest time of one answer.")] = None,
    max_body_mb: Annotated[float | None, _o("max-body-mb", "The largest body (8).")] = None,
    max_logprobs: Annotated[int | None, _o("max-logprobs", "The most best tokens per token (20).")] = None,
    ping: Annotated[float | None, _o("ping", "Silent seconds before a stream gets a comment (15).")] = None,
    keep_alive: Annotated[int | None, _o("keep-alive", "Seconds an idle connection is kept (75).")] = None,
    drain: Annotated[float | None, _o("drain", "Seconds that running requests have at the end (30).")] = None,
    unknown: Annotated[str | None, _o("unknown", "Unknown fields: refuse (default) or warn.")] = None,
    log_format: Annotated[str | None, _o("log-format", "text (default) or json.")] = None,
    log_prompts: Annotated[bool | None, _o("log-prompts", "Log prompts too.")] = None,
    chat_template: Annotated[str | None, _o("chat-template", "A file with the chat template to use.")] = None,
    config: Annotated[Path | None, _o("config", "A TOML file with these names; flags and variables beat it.")] = None,
    print_config: Annotated[bool, typer.Option("--print-config", help="Print the configuration, and leave.")] = False,
) -> None:
    """Serves a model over HTTP, as OpenAI's API has it. The first line printed is the address to use."""
    given = {name: value for name, value in locals().items() if name not in ("config", "print_config")}
    _serve(given, config, print_config)


def _serve(given: dict[str, Any], file: Path | None, show: bool) -> None:
    from espalier.serving.config import Config, configured

    found: Config = configured(given, file)
    found.limits()
    if show:
        print(found.toml())
        return
    found.settings()
    try:
        from espalier.serving.http import server
    except ModuleNotFoundError as error:
        raise InvalidInput(f"the server needs {error.name}; install it with: pip install 'espalier[serve]'") from error
    template = None if found.chat_template is None else Path(found.chat_template).read_text("utf-8")

    def load() -> LanguageModel:
        from espalier.models.load.open import load

        lm = told(load(found.model, dtype=found.dtype, device=found.device, cache_mb=found.cache_mb))
        if template is not None:
            lm.tokenizer.templates, lm.tokenizer.template = {"default": template}, template
        return lm

    server.serve(found, load, lambda line: print(line, flush=True))
