"""Prompt-level methods with scripted models: what is asked, in which order, and how often."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import toys

import espalier as es
from espalier import prompts
from espalier.errors import EspalierError, InvalidInput
from espalier.prompts.graphs import Graph, Node
from espalier.prompts.text_model import ask_all, asked


class Scripted:
    """Answers by a function of the prompt, and remembers what it was asked."""

    def __init__(self, answer: Callable[[str], str]) -> None:
        self.answer, self.asked = answer, list[str]()

    def complete(self, prompt: str, **options: object) -> str:
        self.asked.append(prompt)
        return self.answer(prompt)


def test_a_skeleton_is_expanded_in_its_order():
    def answer(prompt):
        if "only the skeleton" in prompt:
            return "1. red points\n2. blue points\n3. end"
        return f"<{prompt.rsplit('.', 1)[1].strip()}>"

    model = Scripted(answer)
    assert prompts.skeleton(model, "Why?") == "1. red points <red points>\n2. blue points <blue points>\n3. end <end>"
    assert len(model.asked) == 4
    assert prompts.skeleton(Scripted(lambda p: "plain"), "Why?", suits=lambda q: False) == "plain"


def test_a_graph_is_written_level_by_level_and_easy_parts_by_the_small_model():
    plan = "1. terms [easy]\n2. data\n3. sum [after 1, 2]\n4. close [after 3] [easy]"
    big = Scripted(lambda p: plan if "numbered parts" in p else "B" + p[-4:])
    small = Scripted(lambda p: "s" + p[-5:])
    text = prompts.skeleton_graph(big, "Q", small)
    assert text.splitlines()[0] == "1. terms sterms"
    assert len(small.asked) == 2
    third = next(p for p in big.asked if "part 3" in p)
    assert "1. terms sterms" in third
    assert "2. data Bdata" in third
    assert "1. terms" not in next(p for p in small.asked if "part 4" in p)


def test_a_graph_in_a_circle_is_refused():
    assert Graph({1: Node("a"), 2: Node("b", (1,)), 3: Node("c"), 4: Node("d", (2, 3))}).levels() == [[1, 3], [2], [4]]
    with pytest.raises(InvalidInput, match="circle"):
        Graph({1: Node("a", (2,)), 2: Node("b", (1,))}).levels()
    with pytest.raises(InvalidInput, match="no parts"):
        Graph({1: Node("a", (7,))}).levels()


def test_plan_search_doubles_its_ideas_and_ranks_programs():
    def answer(prompt):
        if "List 10" in prompt:
            return "1. o1\n2. o2\n3. o3"
        if prompt.endswith("give another one."):
            return f"second {hash(prompt)}"
        if "explain a solution" in prompt:
            return f"words {hash(prompt)}"
        return f"```python\ncode {hash(prompt) % 5}\n```"

    model = Scripted(answer)
    found = prompts.plan_search(model, "P", tests=lambda code: float(code.split()[1]), leaves=4, layers=2)
    observe = [p for p in model.asked if "List 10" in p]
    assert len(observe) == 1 + 4, "one at the root, at most four subsets at the second layer"
    assert len([p for p in model.asked if "Write the program" in p]) == 8, "each idea twice"
    assert len(set(found)) == len(found) <= 5
    assert found == sorted(found, key=lambda code: -float(code.split()[1]))
    again = prompts.plan_search(Scripted(answer), "P", tests=lambda code: float(code.split()[1]), leaves=4, layers=2)
    assert again == found


def test_a_decision_tree_goes_back_as_far_as_its_answers_say():
    """give-ups unwind one level more than dead depth; siblings are named; the order is depth first."""
    order = []

    def answer(prompt):
        order.append(prompt.count("Move:") - 1)
        return f"m{len(order)}"

    def act(state, move):
        path = (*(state or ()), move)
        return prompts.Action(path, f"saw {len(path)}", "give up" if len(path) == 2 and move == "m2" else "")

    model = Scripted(answer)
    found = prompts.dfsdt(model, "T", act, width=2, depth=3, queries=7)
    assert found == []
    assert len(model.asked) == 7
    assert order[:4] == [0, 1, 0, 1], "after the give-up at depth 2 the next move is at the root again"
    assert "Already tried here:\n- m1 (observed: saw 1)" in model.asked[2]
    assert "Already tried" not in model.asked[3], "the message is not handed down"

    leaf = prompts.dfsdt(Scripted(lambda p: "go"), "T", lambda s, m: prompts.Action((s or 0) + 1, "ok", "answer" if s else ""))
    assert [b.state for b in leaf] == [2]


def test_spar_keeps_the_best_and_stops_when_enough_votes_pass():
    model = Scripted(
        lambda p: "a" * (1 + max((len(line) - 10 for line in p.splitlines() if line.startswith("Response")), default=0))
    )
    judged = []

    def judge(response):
        judged.append(response)
        return len(response) >= 3, f"too short by {3 - len(response)}"

    assert prompts.spar(model, "write", judge=judge, votes=3) == "aaa"
    assert len(judged) % 3 == 0
    assert any("too short by 2" in p for p in model.asked)
    tired = prompts.spar(model, "write", judge=lambda r: (False, "no"), depth=1, votes=1)
    assert tired.startswith("a"), "without a pass the best that was seen"


def test_the_cheatsheet_depends_on_order_and_can_be_reset():
    def answer(prompt):
        if "new cheatsheet" in prompt:
            return prompt.split("Next: ")[1].split("\n")[0] + "|" + prompt.split("Cheatsheet:\n")[1].split("\n")[0]
        return "answer with " + prompt.split("Cheatsheet:\n")[1].split("\n")[0]

    sheet = prompts.cheatsheet(Scripted(answer), limit=20)
    assert sheet("q1") == "answer with "
    assert sheet("q2") == "answer with q1|"
    assert sheet.memory == "q2|q1|"
    sheet("q" * 50)
    assert len(sheet.memory) <= 20
    sheet.reset()
    assert sheet("q1") == "answer with "
    near = prompts.cheatsheet(Scripted(answer), similar=lambda a, b: float(a == b))
    assert near("q1") == "answer with q1|", "curated before it answers"


def test_a_sketch_is_rewritten_under_the_constraint():
    author, seen = Scripted(lambda p: "free text"), {}

    class Editor:
        def complete(self, prompt, **options):
            seen.update(options, prompt=prompt)
            return "42"

    assert prompts.sketch(author, Editor(), "Count", "abc", [("x", "d", "1")], regex="[0-9]+") == "42"
    assert seen["regex"] == "[0-9]+"
    assert "Draft: free text" in seen["prompt"]
    assert "Output: 1" in seen["prompt"]


def test_an_edit_is_kept_only_if_more_terms_appear():
    edits = iter(["nothing of it", "der Hund und die Katze"])
    model = Scripted(lambda p: next(edits) if "Change as little" in p else "der Hund")
    terms = {"dog": "Hund", "cat": "Katze", "cow": "Kuh"}
    assert prompts.terminology(model, "dog and cat", terms, rounds=2) == "der Hund und die Katze"
    assert "cow" not in model.asked[1]
    assert len(model.asked) == 3
    kept = prompts.terminology(Scripted(lambda p: "der Hund"), "dog and cat", terms, rounds=1)
    assert kept == "der Hund"


def test_each_different_plan_is_written_once():
    model = Scripted(lambda p: p.split("<1>")[1].split("<")[0])
    best = prompts.edu_plan(lambda u: [[1, 0], [1, 0], [2]], model, ["a", "bb", "ccc"], lambda ts: [len(t) for t in ts])
    assert best == "ccc"
    assert len(model.asked) == 2
    with pytest.raises(InvalidInput, match="unit that there is not"):
        prompts.edu_plan(lambda u: [[9]], model, ["a"], lambda ts: [1.0])


def test_an_endpoint_and_a_model_of_ours_are_text_models():
    import toys

    class Server(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bad = body["messages"][0]["content"] == "bad"
            said = json.dumps({"choices": [{"message": {"content": body["model"] + str(body["max_tokens"])}}]}).encode()
            self.send_response(400 if bad else 200)
            self.end_headers()
            self.wfile.write(b"no" if bad else said)

        def log_message(self, *args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        model = prompts.Endpoint(f"http://127.0.0.1:{server.server_port}/v1", "m", options={"max_tokens": 3})
        assert model.complete("x") == "m3"
        with pytest.raises(EspalierError, match="answered 400"):
            model.complete("bad")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    with pytest.raises(EspalierError, match="could not be asked"):
        model.complete("x")
    ours = prompts.Local(toys.speaks(["hi there"]), {"max_tokens": 9})
    assert ours.complete("hi") == " there"
    assert ours.complete_all(["hi", "hi"]) == [" there", " there"]
    with pytest.raises(InvalidInput, match="complete"):
        prompts.skeleton(object(), "Q")


def test_a_language_model_is_a_text_model():
    lm = toys.speaks(["Hi there", "Ho ho"])
    assert ask_all(lm, [es.raw("Hi"), es.raw("Ho")], max_tokens=20) == [" there", " ho"]
    assert asked(lm, es.raw("Hi"), max_tokens=20) == " there"
