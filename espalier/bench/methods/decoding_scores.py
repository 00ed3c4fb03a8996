"""What finished texts are worth: repetition, diversity, right numbers, molecules that can be."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def rep(tokens: Sequence[T], n: int = 4) -> float:
    """The share of n-grams that repeat an earlier one of the same text. Welleck et al. 2019 (arXiv 1908.04319).

    >>> rep([1, 2, 1, 2, 1], 2)
    0.5
    """
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


def diversity(tokens: Sequence[T]) -> float:
    """The product of 1 - rep(n) for n = 2, 3, 4. Su et al. 2022 (arXiv 2202.06417).

    >>> diversity([1, 2, 3, 4]), diversity([1, 1, 1, 1, 1]) < 0.1
    (1.0, True)
    """
    return math.prod(1 - rep(tokens, n) for n in (2, 3, 4))


def distinct(texts: Sequence[Sequence[T]], n: int) -> float:
    """Different n-grams among all n-grams of several texts. Li et al. 2016 (arXiv 1510.03055).

    >>> distinct([[1, 2], [1, 3]], 1)
    0.75
    """
    grams = [tuple(text[i : i + n]) for text in texts for i in range(len(text) - n + 1)]
    return len(set(grams)) / len(grams) if grams else 0.0


def last_number(text: str) -> float | None:
    """The last number of a text, None if there is none; commas between digits are left out.

    >>> last_number("So 3 + 4 = 7, that is $1,207.")
    1207.0
    """
    found = re.findall(r"-?\d[\d,]*(?:\.\d+)?", text)
    return float(found[-1].replace(",", "")) if found else None


_ATOM = re.compile(r"Cl|Br|[BCNOPSFI]|[bcnops]|\[(?P<isotope>\d*)(?P<element>[A-Z][a-z]?|[cnops]|se|as)(?P<rest>[^\]]*)\]")
_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc Ru "
    "Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At "
    "Rn Fr Ra Ac Th Pa U c n o p s se as"
)
_ELEMENTS = frozenset(_SYMBOLS.split())
_BOND = {"-": 1.0, "=": 2.0, "#": 3.0, ":": 1.5, "/": 1.0, "\\": 1.0}
_VALENCE = {"B": 3, "C": 4, "N": 5, "O": 2, "P": 5, "S": 6, "F": 1, "Cl": 1, "Br": 1, "I": 1}
_AROMATIC = {"b": 3, "c": 4, "n": 4, "o": 3, "p": 4, "s": 4}  # a lone pair or a hydrogen counts with the ring
_REST = re.compile(r"@{0,2}(H\d?)?([+-]\d|\++|-+)?(:\d+)?")


def smiles_valid(text: str) -> bool:
    """Whether a text is one SMILES molecule: its syntax, brackets and rings closed, no atom with too many bonds.

    Aromatic systems are not checked for whether they can be drawn with double bonds, so this is a necessary condition.
    Weininger 1988, "SMILES, a chemical language".

    >>> [smiles_valid(s) for s in ("CC(=O)Oc1ccccc1", "C1CC", "C(C)(C)(C)(C)C", "", "F=C", "C[N+](=O)[O-]", "CC)C", "C=")]
    [True, False, False, False, False, True, False, False]
    """
    bonds: list[tuple[int, int, float]] = []
    atoms: list[str] = []
    rings: dict[str, tuple[int, str]] = {}
    branches: list[int] = []
    at, last, bond = 0, -1, ""
    while at < len(text):
        sign = text[at]
        if match := _ATOM.match(text, at):
            if (element := match["element"]) and not (element in _ELEMENTS and _REST.fullmatch(match["rest"])):
                return False
            atoms.append(match[0])
            if last >= 0:
                bonds.append((last, len(atoms) - 1, _order(bond, atoms[last], match[0])))
            last, bond, at = len(atoms) - 1, "", match.end()
            continue
        if last < 0:
            return False
        if sign == "(" and not bond:
            branches.append(last)
        elif sign == ")" and branches and not bond and text[at - 1] != "(":
            last = branches.pop()
        elif sign in _BOND and not bond:
            bond = sign
        elif ring := re.match(r"\d|%\d\d", text[at:]):
            if ring[0] in rings:
                other, kind = rings.pop(ring[0])
                if other == last or (kind and bond and kind != bond):
                    return False
                bonds.append((other, last, _order(kind or bond, atoms[other], atoms[last])))
            else:
                rings[ring[0]] = (last, bond)
            bond, at = "", at + len(ring[0])
            continue
        elif sign == "." and not bond and not branches:
            last = -1
        else:
            return False
        at += 1
    return last >= 0 and not (rings or branches or bond) and _possible(atoms, bonds)


def _order(bond: str, one: str, other: str) -> float:
    return _BOND[bond] if bond else 1.5 if one.islower() and other.islower() else 1.0


def _possible(atoms: Sequence[str], bonds: Sequence[tuple[int, int, float]]) -> bool:
    if len({frozenset(bond[:2]) for bond in bonds}) < len(bonds):
        return False  # two bonds between the same atoms
    used = [0.0] * len(atoms)
    for one, other, order in bonds:
        used[one] += order
        used[other] += order
    return all(count <= _most(atom) for count, atom in zip(used, atoms, strict=True))


def _most(atom: str) -> float:
    """How many bonds an atom can have; what stands in brackets says its own hydrogens and charge, and may have 8."""
    if atom.startswith("["):
        return 8
    return _AROMATIC[atom] + 0.5 if atom in _AROMATIC else _VALENCE[atom]
