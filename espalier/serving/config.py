"""The configuration of `serve`: flags beat variables, variables beat a file, and a file beats the defaults."""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from espalier.errors import InvalidInput, require
from espalier.serving.limits import Limits
from espalier.serving.settings import Settings


@dataclass(frozen=True)
class Config:
    """Everything that `serve` can be told.

    >>> Config(port=9000).address
    'http://127.0.0.1:9000'
    """

    model: str | None = None
    dtype: str | None = None
    device: str | None = None
    name: list[str] = field(default_factory=list)
    host: str = "127.0.0.1"
    port: int = 8000
    uds: str | None = None
    api_key: list[str] = field(default_factory=list)
    api_key_file: str | None = None
    no_auth: bool = False
    cors_origin: list[str] = field(default_factory=list)
    tls_cert: str | None = None
    tls_key: str | None = None
    running: int = 16
    queued: int = 256
    prompt_rows: int = 64
    kv_mb: float | None = None
    cache_mb: float = 1024
    max_output_tokens: int | None = None
    max_seconds: float | None = None
    max_body_mb: float = 8
    max_logprobs: int = 20
    ping: float = 15
    keep_alive: int = 75
    drain: float = 30
    unknown: Literal["refuse", "warn"] = "refuse"
    log_format: Literal["text", "json"] = "text"
    log_prompts: bool = False
    chat_template: str | None = None

    def __post_init__(self) -> None:
        require(0 <= self.port <= 65535, f"port={self.port}: a port is 0 (any that is free) to 65535")
        require(
            (self.tls_cert is None) == (self.tls_key is None), "TLS needs both --tls-cert and --tls-key; give the other one too"
        )
        require(
            bool(self.api_key or self.api_key_file or self.no_auth or self.uds or self.loopback),
            f"--host {self.host} can be reached from other machines, but there is no key: give --api-key or --api-key-file, "
            "or --no-auth if everybody may use it",
        )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def address(self) -> str:
        """What to point a client at."""
        if self.uds is not None:
            return f"unix:{self.uds}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self.tls_cert else ''}://{host}:{self.port}"

    def keys(self) -> list[str]:
        """All keys: those given, and the lines of the file. Raises `InvalidInput` for a file without any."""
        if self.api_key_file is None or self.no_auth:
            return [] if self.no_auth else list(self.api_key)
        lines = Path(self.api_key_file).read_text("utf-8").splitlines()
        found = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        require(bool(found), f"{self.api_key_file} holds no key; write one a line")
        return [*self.api_key, *found]

    def limits(self) -> Limits:
        """The limits of the engine."""
        return Limits(**{f.name: getattr(self, f.name) for f in fields(Limits) if hasattr(self, f.name)})

    def settings(self) -> Settings:
        """The settings of the app."""
        shared = {f.name: getattr(self, f.name) for f in fields(Settings) if hasattr(self, f.name)}
        return Settings(names=self.name, api_keys=self.keys(), cors_origins=self.cors_origin, **shared)

    def toml(self) -> str:
        """The configuration as a file would have it; keys are not shown."""
        lines = []
        for each in fields(self):
            value = getattr(self, each.name)
            if each.name == "api_key" and value:
                value = ["…"] * len(value)
            if value is None:
                lines.append(f"# {each.name.replace('_', '-')} =")
            else:
                lines.append(f"{each.name.replace('_', '-')} = {_toml(value)}")
        return "\n".join(lines)


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return repr(value)


def configured(given: Mapping[str, Any], file: Path | None = None) -> Config:
    """The configuration of flags and variables (None: not given) over a TOML file.

    Raises `InvalidInput` for a file that is no TOML, an unknown name in it (with the nearest), and a value of another kind.

    >>> configured({"port": 9000, "host": None}).port
    9000
    """
    values: dict[str, Any] = {}
    if file is not None:
        try:
            values = {name.replace("-", "_"): value for name, value in tomllib.loads(file.read_text("utf-8")).items()}
        except ValueError as error:
            raise InvalidInput(f"{file} is not TOML: {error}") from error
    defaults = Config()
    known = {each.name for each in fields(Config)}
    for name, value in values.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {close[0].replace('_', '-')}?" if close else f"there are: {', '.join(sorted(known))}"
            raise InvalidInput(f"{file}: {name!r} is not known; {hint}")
        values[name] = _checked(name, value, getattr(defaults, name), file)
    return Config(**{**values, **{name: value for name, value in given.items() if value not in (None, [])}})


def _checked(name: str, value: Any, default: Any, file: Path | None) -> Any:
    if name in ("kv_mb", "max_seconds", "cache_mb", "max_body_mb", "ping", "drain"):
        kinds: tuple[type, ...] = (int, float)
    elif name == "max_output_tokens":
        kinds = (int,)
    else:
        kinds = (str,) if default is None else (type(default),)
    wrong = not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds)
    if isinstance(value, list) and not all(isinstance(each, str) for each in value):
        wrong = True
    require(not wrong, f"{file}: {name.replace('_', '-')} was {value!r}; it is to be {_said(kinds)}")
    return value


def _said(kinds: tuple[type, ...]) -> str:
    names = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", list: "a list of texts"}
    return names[kinds[-1]]
