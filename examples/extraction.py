"""Structured extraction: a text in, a validated Pydantic object out."""

from pydantic import BaseModel, Field

import espalier as es


class Moon(BaseModel):
    name: str = Field(max_length=20)
    planet: str = Field(max_length=20)
    diameter_km: int = Field(ge=1, le=10_000)


def main() -> Moon:
    lm = es.load()
    text = "Europa, one of the four large moons of Jupiter, is about 3122 kilometres across."
    moon = lm.generate(
        f"{text}\nWhich moon is this, of which planet, and how large is it? Answer in JSON.", schema=Moon, max_tokens=80
    )
    print(moon)
    return moon


if __name__ == "__main__":
    main()
