"""`espalier bench …`: measurements with peers side by side; JSON lines on standard output, tables on standard error."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Optional

import typer

from espalier.cli.bench_rows import rows
from espalier.cli.bench_search import faithful, search
from espalier.errors import require

app = typer.Typer(help="Measure: JSON lines on standard output, tables on standard error.", no_args_is_help=True)
app.command()(faithful)
app.command()(search)
app.command()(rows)


@app.command()
def decode(
    model: Annotated[Optional[str], typer.Option(help="built-in name, folder or .gguf")] = None,  # noqa: UP045
    dtype: Annotated[str, typer.Option(help="comma-separated: fp32, bf16, int8, int4")] = "fp32,bf16,int8",
    prompts: Annotated[Optional[Path], typer.Option(help="JSON lines with 'turns' (Spec-Bench)")] = None,  # noqa: UP045
    limit: Annotated[int, typer.Option(help="how many prompts")] = 4,
    context: Annotated[int, typer.Option(help="tokens of each prompt")] = 128,
    tokens: Annotated[int, typer.Option(help="tokens to write")] = 48,
    rounds: Annotated[int, typer.Option(help="how often all is measured; medians are reported")] = 3,
    openvino: Annotated[Optional[Path], typer.Option(help="folder of an OpenVINO GenAI model, as a further peer")] = None,  # noqa: UP045
    llamacpp: Annotated[Optional[Path], typer.Option(help="GGUF file for llama.cpp (xllamacpp), a further peer")] = None,  # noqa: UP045
    requests: Annotated[str, typer.Option(help="numbers of requests at once, comma-separated, such as 1,4,16,32")] = "",
    perplexity: Annotated[bool, typer.Option(help="of the --prompts' texts in each --dtype instead")] = False,
) -> None:
    """Plain decoding and prompt lookup against transformers (and OpenVINO GenAI), ms per pass against tree nodes, the loop."""
    from espalier.bench.decoding import decode_bench
    from espalier.models.load.open import load, locate

    dtypes = [name.strip() for name in dtype.split(",")]
    require(set(dtypes) <= {"fp32", "bf16", "int8", "int4"}, f"--dtype {dtype}: use a list of fp32, bf16, int8 and int4")
    if perplexity:
        from espalier.bench.perplexity import perplexity_bench, texts_of

        perplexity_bench(lambda name: load(model, dtype=name), dtypes, texts_of(prompts, limit, context), context)
        return
    counts = [int(count) if count.strip().isdigit() else 0 for count in requests.split(",") if count.strip()]
    require(min(counts, default=1) >= 1, f"--requests {requests}: write numbers such as 1,4,16,32")
    require(
        llamacpp is None or find_spec("xllamacpp") is not None, "--llamacpp needs the package xllamacpp: pip install xllamacpp"
    )
    require(tokens >= 2 and rounds >= 1 and limit >= 1, "--tokens must be at least 2, --rounds and --limit at least 1")
    how = (context, tokens, rounds, openvino, model, llamacpp, counts)
    decode_bench(lambda name: load(model, dtype=name), locate(model), dtypes, prompts, limit, *how)


@app.command("pass")
def pass_(
    shape: Annotated[str, typer.Option(help="135m, 1b, 3b or 8b: a Llama of this size with random weights")] = "135m",
    dtype: Annotated[str, typer.Option(help="fp32, bf16, fp16, int8 or int4")] = "bf16",
    device: Annotated[str, typer.Option(help="cpu or cuda")] = "cpu",
    context: Annotated[int, typer.Option(help="tokens of each prompt")] = 128,
    tokens: Annotated[int, typer.Option(help="tokens to write")] = 32,
    batch: Annotated[str, typer.Option(help="batch sizes, comma-separated")] = "1,8,32",
    rounds: Annotated[int, typer.Option(help="how often all is measured; medians are reported")] = 3,
    peer: Annotated[bool, typer.Option(help="measure transformers on the same weights too")] = True,
) -> None:
    """What a pass costs on a device, at several batch sizes and tree sizes, on random weights of a real shape."""
    from espalier.bench.passes import pass_bench

    sizes = [int(size) if size.strip().isdigit() else 0 for size in batch.split(",")]
    require(min(sizes) >= 1, f"--batch {batch}: write batch sizes such as 1,8,32")
    require(dtype in {"fp32", "bf16", "fp16", "int8", "int4"}, f"--dtype {dtype}: use fp32, bf16, fp16, int8 or int4")
    require(device in {"cpu", "cuda"}, f"--device {device}: use cpu or cuda")
    require(tokens >= 2 and rounds >= 1 and context >= 1, "--tokens must be at least 2, --rounds and --context at least 1")
    pass_bench(shape, dtype, device, context, tokens, sizes, rounds, peer)


@app.command()
def shapers(
    shaper: Annotated[str, typer.Option(help="comma-separated names; left out: all")] = "",
    vocab: Annotated[str, typer.Option(help="sizes of the vocabulary, comma-separated")] = "49152,262144",
    rows: Annotated[str, typer.Option(help="numbers of rows, comma-separated")] = "1,16",
    rounds: Annotated[int, typer.Option(help="rows measured of each kind; medians are reported")] = 50,
) -> None:
    """What each shaper costs per row, after 512 and after 8,192 tokens for those with a memory."""
    from espalier.bench.shapers import shapers_bench

    numbers = [[int(n) if n.strip().isdigit() else 0 for n in text.split(",")] for text in (vocab, rows)]
    require(min(numbers[0]) >= 300 and min(numbers[1]) >= 1, "--vocab and --rows: numbers such as 49152,262144 and 1,16")
    require(rounds >= 1, f"--rounds {rounds}: at least one")
    names = [name.strip() for name in shaper.split(",") if name.strip()]
    shapers_bench(names, numbers[0], numbers[1], rounds)


@app.command()
def speculation(
    model: Annotated[Optional[str], typer.Option(help="built-in name, folder or .gguf")] = None,  # noqa: UP045
    prompts: Annotated[Optional[Path], typer.Option(help="questions, JSON lines as Spec-Bench's")] = None,  # noqa: UP045
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or int8")] = "bf16",
    drafter: Annotated[str, typer.Option(help="comma-separated: auto, lookup, recycling, cache, cascade, …")] = "auto,lookup",
    limit: Annotated[int, typer.Option(help="prompts of each category; 0 = all")] = 8,
    tokens: Annotated[int, typer.Option(help="tokens to write")] = 64,
    runs: Annotated[int, typer.Option(help="how often all is measured; medians are reported")] = 3,
    peers: Annotated[bool, typer.Option(help="measure transformers beside us")] = True,
    start: Annotated[int, typer.Option(help="how many prompts of each category to leave out first")] = 0,
    log: Annotated[Optional[Path], typer.Option(help="append measurements here; what is there is not repeated")] = None,  # noqa: UP045
    seconds: Annotated[float, typer.Option(help="begin no further prompt after so long (--log goes on)")] = 1e9,
    throughput: Annotated[bool, typer.Option(help="tokens per second by input length and batch size instead")] = False,
    inputs: Annotated[str, typer.Option(help="with --throughput: input lengths, comma-separated")] = "512,1024,2048,4096",
    batch: Annotated[str, typer.Option(help="with --throughput: batch sizes, comma-separated")] = "1,4,16",
) -> None:
    """Drafters against plain decoding and against transformers' prompt lookup and early exit, by category of Spec-Bench."""
    from espalier import catalogue
    from espalier.bench.speculation import speculation_bench
    from espalier.models.load.open import load, locate

    require(dtype in {"fp32", "bf16", "int8"}, f"--dtype {dtype}: use fp32, bf16 or int8")
    require(tokens >= 2 and runs >= 1 and limit >= 0, "--tokens must be at least 2, --runs at least 1, --limit at least 0")
    require(start >= 0 and seconds > 0, "--start must be at least 0, --seconds more than 0")
    names = [name.strip() for name in drafter.split(",")]
    wrong = sorted(set(names) - set(catalogue.names("drafter", typed=True)))
    require(not wrong, f"--drafter {', '.join(wrong)}: choose from {', '.join(catalogue.names('drafter'))}")
    folder, lm = locate(model), load(model, dtype=dtype)
    if throughput:
        from espalier.bench.speculation import OWN, SPEC_BENCH, load_questions
        from espalier.bench.throughput import throughput_bench

        lengths, sizes = ([int(n) if n.strip().isdigit() else 0 for n in text.split(",")] for text in (inputs, batch))
        require(min(lengths) >= 1 and min(sizes) >= 1, "--inputs and --batch: numbers such as 512,1024 and 1,4")
        path = prompts or (SPEC_BENCH if SPEC_BENCH.exists() else OWN)
        texts = [ids for _, ids in load_questions(path, 16, max(lengths), lm, start)]
        throughput_bench(lm, texts, dtype, names, lengths, sizes, tokens, log, seconds)
        return
    speculation_bench(
        lm, folder, dtype, prompts, names, limit or None, tokens, runs, peers, start=start, log=log, seconds=seconds
    )


@app.command()
def cache(
    model: Annotated[Optional[str], typer.Option(help="built-in name, folder or .gguf")] = None,  # noqa: UP045
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or int8")] = "bf16",
    turns: Annotated[int, typer.Option(help="turns of the chat")] = 10,
    said: Annotated[int, typer.Option(help="tokens that the user says in a turn")] = 40,
    answer: Annotated[int, typer.Option(help="tokens of an answer")] = 24,
    requests: Annotated[int, typer.Option(help="requests that share system prompts")] = 200,
    systems: Annotated[int, typer.Option(help="different system prompts")] = 10,
    length: Annotated[int, typer.Option(help="tokens of a system prompt")] = 200,
    own: Annotated[int, typer.Option(help="tokens of a request's own")] = 20,
    cache_mb: Annotated[float, typer.Option(help="budget of the cache")] = 256,
) -> None:
    """The first token of a chat's turns, and of requests that share system prompts, with the prefix cache and without."""
    from espalier.bench.prefix_cache import cache_bench
    from espalier.models.load.open import load

    require(dtype in {"fp32", "bf16", "int8"}, f"--dtype {dtype}: use fp32, bf16 or int8")
    require(min(turns, said, answer, requests, systems, length, own) >= 1, "all numbers are at least 1")
    lm = load(model, dtype=dtype, cache_mb=cache_mb)
    cache_bench(lm, dtype, turns, said, answer, requests, systems, length, own)


@app.command()
def constraints(
    data: Annotated[Path, typer.Option(help="MaskBench records (.jsonl or .jsonl.gz) to make tasks of")],
    model: Annotated[Optional[str], typer.Option(help="built-in name, folder or .gguf")] = None,  # noqa: UP045
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or int8")] = "bf16",
    limit: Annotated[int, typer.Option(help="how many tasks")] = 30,
    tokens: Annotated[int, typer.Option(help="the most tokens to write for one")] = 160,
) -> None:
    """Extraction under JSON schemas, greedy: ours against transformers with xgrammar's and llguidance's masks."""
    from espalier.bench.extraction import extraction_bench
    from espalier.models.load.open import load, locate

    require(limit >= 1 and tokens >= 2, "--limit must be at least 1 and --tokens at least 2")
    extraction_bench(load(model, dtype=dtype), locate(model), dtype, data, limit, tokens)


@app.command()
def jsonschema(
    data: Annotated[Path, typer.Option(help="MaskBench records")] = Path("../shared/data/maskbench/public.jsonl.gz"),
    suite: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="folder of the official test suite; left out where there is none"),
    ] = Path("../shared/data/json-schema-test-suite/draft2020-12"),
    gsm8k: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="GSM8K, JSON lines; left out where there is none"),
    ] = Path("../shared/data/gsm8k/test_public.jsonl"),
    model: Annotated[Optional[str], typer.Option(help="built-in name or folder")] = None,  # noqa: UP045
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or int8")] = "bf16",
    engines: Annotated[str, typer.Option(help="comma-separated; left out: espalier and the peers that are installed")] = "",
    parts: Annotated[str, typer.Option(help="comma-separated: coverage, empirical, quality")] = "coverage,empirical,quality",
    limit: Annotated[
        int, typer.Option(help="schemas to write under, and questions of a task; ten times as many are judged")
    ] = 12,
    tokens: Annotated[int, typer.Option(help="the most tokens of a text")] = 96,
    seconds: Annotated[float, typer.Option(help="the most that an engine may take for one schema")] = 3.0,
) -> None:
    """JSONSchemaBench: coverage (declared, true, empirical), times, and right answers with and without a schema."""
    from espalier.bench.jsonschema import PARTS, jsonschema_bench
    from espalier.models.load.open import load, locate

    wanted = [name.strip() for name in parts.split(",")]
    require(set(wanted) <= set(PARTS), f"--parts {parts}: use a list of {', '.join(PARTS)}")
    require(limit >= 1 and tokens >= 2 and seconds > 0, "--limit at least 1, --tokens at least 2, --seconds more than 0")
    names = [name.strip() for name in engines.split(",") if name.strip()]
    folder = locate(model)
    lm = load(model, dtype=dtype)
    jsonschema_bench(
        lm, folder / "tokenizer.json", data, suite, gsm8k, names, wanted, limit=limit, tokens=tokens, seconds=seconds
    )


@app.command()
def members(
    project: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(help="folder of a Python project; left out: the standard library's json"),
    ] = None,
    model: Annotated[Optional[str], typer.Option(help="built-in name, folder or .gguf")] = None,  # noqa: UP045
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or int8")] = "bf16",
    limit: Annotated[int, typer.Option(help="how many places")] = 40,
    tokens: Annotated[int, typer.Option(help="the most tokens to write at one")] = 8,
) -> None:
    """Names after a dot in a Python project, with and without the monitor that asks jedi."""
    import json

    from espalier.bench.members import members_bench
    from espalier.models.load.open import load

    require(limit >= 1 and tokens >= 2, "--limit must be at least 1 and --tokens at least 2")
    members_bench(load(model, dtype=dtype), project or Path(json.__file__).parent, limit, tokens)


@app.command()
def decoders(
    model: Annotated[Optional[str], typer.Option(help="built-in name, folder or .gguf")] = None,  # noqa: UP045
    dtype: Annotated[str, typer.Option(help="fp32, bf16 or int8")] = "bf16",
    task: Annotated[
        str, typer.Option(help="comma-separated: continuation, gsm8k, humaneval, smiles, counterfactual, mirostat")
    ] = "continuation,gsm8k,humaneval,smiles",
    gsm8k: Annotated[Optional[Path], typer.Option(help="JSON lines with question and answer")] = None,  # noqa: UP045
    humaneval: Annotated[Optional[Path], typer.Option(help="JSON lines with prompt, test and entry_point")] = None,  # noqa: UP045
    smiles: Annotated[Optional[Path], typer.Option(help="folder of prompts that end with 'Molecule:'")] = None,  # noqa: UP045
    decoder: Annotated[str, typer.Option(help="comma-separated names of methods; left out: all")] = "",
    limit: Annotated[int, typer.Option(help="texts of each task and setting")] = 4,
    tokens: Annotated[Optional[int], typer.Option(help="the most tokens of a text; left out: each task's own")] = None,  # noqa: UP045
    log: Annotated[Optional[Path], typer.Option(help="append measurements here; what is there is not repeated")] = None,  # noqa: UP045
    seconds: Annotated[float, typer.Option(help="begin no further measurement after so long (--log goes on)")] = 1e9,
) -> None:
    """Decoding methods and their settings by task: repetition, diversity, log-probability, accuracy; the best fixed setting."""
    from espalier.bench.methods.decoders import check_names, decoders_bench
    from espalier.models.load.open import load

    require(limit >= 1 and (tokens is None or tokens >= 1) and seconds > 0, "--limit, --tokens and --seconds must be above 0")
    tasks, methods = ([name.strip() for name in text.split(",") if name.strip()] for text in (task, decoder))
    check_names(tasks, methods)
    data = {"gsm8k": gsm8k, "humaneval": humaneval, "smiles": smiles}
    decoders_bench(load(model, dtype=dtype), tasks, data, methods, limit, tokens, log, seconds)


@app.command()
def serve(
    model: Annotated[Optional[str], typer.Option(help="built-in name, folder or .gguf")] = None,  # noqa: UP045
    dtype: Annotated[str, typer.Option(help="fp32 or bf16")] = "bf16",
    clients: Annotated[str, typer.Option(help="numbers of clients, comma-separated")] = "1,4,8,16",
    tokens: Annotated[int, typer.Option(help="tokens to write after prompts of 32")] = 128,
    rounds: Annotated[int, typer.Option(help="texts of each client, one after the other")] = 2,
    transformers: Annotated[Optional[str], typer.Option(help="the python of transformers[serving]")] = None,  # noqa: UP045
    vllm: Annotated[Optional[str], typer.Option(help="the vllm program, for its server on the CPU")] = None,  # noqa: UP045
    llama: Annotated[Optional[str], typer.Option(help="the llama-server program")] = None,  # noqa: UP045
    gguf: Annotated[Optional[Path], typer.Option(help="the same weights for llama-server")] = None,  # noqa: UP045
    soak: Annotated[Optional[str], typer.Option(help="instead: schemas for so long, such as 20m")] = None,  # noqa: UP045
    schemas: Annotated[int, typer.Option(help="with --soak: how many different schemas")] = 5000,
    stall: Annotated[bool, typer.Option(help="instead: four streams while a prompt of 4,000 tokens arrives")] = False,
) -> None:
    """The server over real sockets, with clients in a process of their own: against the library, its passes, and peers."""
    from espalier.bench.serve.figures import serve_bench
    from espalier.bench.serve.pauses import stall_bench
    from espalier.bench.serve.soak import seconds_of, soak_bench
    from espalier.bench.serve.systems import Own, llama_server, transformers_serve, vllm_serve
    from espalier.models.load.open import load, locate

    counts = [int(count) if count.strip().isdigit() else 0 for count in clients.split(",")]
    require(min(counts) >= 1, f"--clients {clients}: numbers such as 1,4,8,16")
    require(dtype in {"fp32", "bf16"}, f"--dtype {dtype}: use fp32 or bf16")
    require(tokens >= 2 and rounds >= 1 and schemas >= 1, "--tokens at least 2, --rounds and --schemas at least 1")
    require((llama is None) == (gguf is None), "llama-server needs --llama and --gguf; give the other one too")
    own = Own(model, dtype)
    if soak is not None:
        soak_bench(own, seconds_of(soak), schemas, 4)
        return
    if stall:
        stall_bench(own)
        return
    folder = locate(model)
    peers = [] if transformers is None else [transformers_serve(transformers, folder, dtype)]
    peers += [] if llama is None or gguf is None else [llama_server(llama, gguf)]
    peers += [] if vllm is None else [vllm_serve(vllm, folder, dtype)]
    serve_bench(load(model, dtype=dtype), own, peers, counts, tokens, rounds)
