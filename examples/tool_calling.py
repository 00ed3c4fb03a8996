"""Three Python functions as tools: the model writes calls under their types, and they are run."""

from collections.abc import Callable

import espalier as es


def weather(city: str, days: int = 1) -> str:
    """The weather of a city for some days."""
    return f"sun in {city} for {days} days"


def convert(amount: float, source: str, target: str) -> str:
    """Converts an amount of money from one currency to another."""
    return f"{amount} {source} in {target}"


def remind(text: str, hour: int) -> str:
    """Reminds the user of something at an hour."""
    return f"{hour}:00 {text}"


TOOLS: list[Callable[..., str]] = [weather, convert, remind]
SHOWN = {  # a small model learns from examples what a template with tools tells a larger one
    "What is the weather in Rome for 2 days?": '{"name": "weather", "arguments": {"city": "Rome", "days": 2}}',
    "Convert 9 from JPY to GBP.": '{"name": "convert", "arguments": {"amount": 9, "source": "JPY", "target": "GBP"}}',
    "Remind me to sleep at 22.": '{"name": "remind", "arguments": {"text": "sleep", "hour": 22}}',
}
ASKED = ["Convert 20 from EUR to USD.", "What is the weather in Oslo for 3 days?", "Remind me to drink tea at 5."]


def main() -> list[str]:
    lm, answers = es.load(), list[str]()
    turns = [t for q, a in SHOWN.items() for t in (("user", q), ("assistant", f"<tool_call>\n{a}\n</tool_call>"))]
    shown = [{"role": role, "content": content} for role, content in turns]
    for asked in ASKED:
        said = lm.generate([*shown, {"role": "user", "content": asked}], tools=TOOLS, tool_choice="required", max_tokens=80)
        answers += [{f.__name__: f for f in TOOLS}[call.name](**call.arguments) for call in said.tool_calls]
    return answers
