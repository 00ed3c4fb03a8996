"""Write core/base/unicode_tables.cpp: general categories, scripts, a few binary properties, and simple case folding.

usage: python scripts/unicode_tables.py     (needs the package `regex`; its Unicode version is the one recorded)
"""

import unicodedata
from collections import defaultdict
from pathlib import Path

import regex

_SCRIPTS = """Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki Bopomofo
Brahmi Braille Buginese Buhid Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee Chorasmian Common
Coptic Cuneiform Cypriot Cypro_Minoan Cyrillic Deseret Devanagari Dives_Akuru Dogra Duployan Egyptian_Hieroglyphs
Elbasan Elymaic Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gunjala_Gondi Gurmukhi Han Hangul
Hanifi_Rohingya Hanunoo Hatran Hebrew Hiragana Imperial_Aramaic Inherited Inscriptional_Pahlavi Inscriptional_Parthian
Javanese Kaithi Kannada Katakana Kawi Kayah_Li Kharoshthi Khitan_Small_Script Khmer Khojki Khudawadi Lao Latin Lepcha
Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani Makasar Malayalam Mandaic Manichaean Marchen Masaram_Gondi
Medefaidrin Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar
Nabataean Nag_Mundari Nandinagari New_Tai_Lue Newa Nko Nushu Nyiakeng_Puachue_Hmong Ogham Ol_Chiki Old_Hungarian
Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_Sogdian Old_South_Arabian Old_Turkic Old_Uyghur Oriya Osage
Osmanya Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra
Sharada Shavian Siddham SignWriting Sinhala Sogdian Sora_Sompeng Soyombo Sundanese Syloti_Nagri Syriac Tagalog
Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangsa Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Toto Ugaritic
Vai Vithkuqi Wancho Warang_Citi Yezidi Yi Zanabazar_Square"""
SCRIPTS = _SCRIPTS.split()
_BINARY = """Alphabetic Lowercase Uppercase White_Space ID_Start ID_Continue XID_Start XID_Continue Emoji Math"""
BINARY = _BINARY.split()
_CATEGORIES = """Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn"""
CATEGORIES = _CATEGORIES.split()
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+-"
CHARACTERS = [chr(c) for c in range(0x110000)]
EVERYTHING = "".join(c if not 0xD800 <= ord(c) < 0xE000 else "\ue000" for c in CHARACTERS)


def number(n: int) -> str:
    """Six bits a character, the last one marked by a leading '.': never more than four characters here."""
    text = DIGITS[n & 63]
    while n := n >> 6:
        text = DIGITS[n & 63] + text
    return ["", "", ".", ":", "!"][len(text)] + text


def ranges(found: list[tuple[int, int]]) -> str:
    text, at = "", 0
    for lo, hi in found:
        text += number(lo - at) + number(hi - lo)
        at = hi + 1
    return text


def having(name: str) -> list[tuple[int, int]]:
    surrogates = (0xD800, 0xDFFF)
    if name == "Cs":
        return [surrogates]
    found = [(m.start(), m.end() - 1) for m in regex.finditer(rf"\p{{{name}}}+", EVERYTHING)]
    cut = []
    for lo, hi in found:  # the place of the surrogates holds U+E000, which is Co
        if lo < 0xD800 <= hi:
            cut.append((lo, 0xD7FF))
        if hi > 0xDFFF and max(lo, 0xE000) <= hi:
            cut.append((max(lo, 0xE000), hi))
        if hi < 0xD800:
            cut.append((lo, hi))
    return cut


def folds() -> list[tuple[int, int, int, int]]:
    """(lo, hi, stride, delta): each of lo, lo + stride … hi also matches itself plus delta when case is ignored."""
    groups: dict[str, set[int]] = defaultdict(set)
    for c in CHARACTERS:
        if 0xD800 <= ord(c) < 0xE000:
            continue
        low = c.lower()[0] if len(c.lower()) == 1 or c == "\u0130" else c
        up = low.upper() if len(low.upper()) == 1 else low
        groups[up.lower() if len(up.lower()) == 1 else up].add(ord(c))
    pairs = sorted((y - x, x) for group in groups.values() for x in group for y in group if x != y)
    runs: list[list[int]] = []
    for delta, x in pairs:
        if runs and runs[-1][3] == delta:
            lo, hi, stride, _ = runs[-1]
            if x - hi in (1, 2) and (lo == hi or x - hi == stride):
                runs[-1] = [lo, x, x - hi, delta]
                continue
        runs.append([x, x, 1, delta])
    return [(lo, hi, stride, delta) for lo, hi, stride, delta in runs]


def quoted(text: str) -> str:
    return "\n".join(f'      "{text[i : i + 118]}"' for i in range(0, max(1, len(text)), 118))


def main() -> None:
    out = [
        "// Written by scripts/unicode_tables.py; do not edit.",
        f"// Categories and scripts: the package regex {regex.__version__}; case: Unicode {unicodedata.unidata_version}.",
        '#include "base/unicode.hpp"',
        "",
        "namespace espalier::unicode {",
        "",
    ]
    for title, names in (("categories", CATEGORIES), ("scripts", SCRIPTS), ("binary", BINARY)):
        rows = [(name, ranges(having(name if title != "scripts" else f"Script={name}"))) for name in names]
        out += [f"const Table {title}[] = {{"]
        out += [f'  {{"{name}",\n{quoted(text)}}},' for name, text in rows if text]
        out += ["  {nullptr, nullptr},", "};", ""]
    rows = ["{" + ", ".join(map(str, row)) + "}," for row in folds()]
    lines, line = [], "  "
    for row in rows:
        if len(line) + len(row) > 124:
            lines.append(line)
            line = "  "
        line += row + " "
    out += ["const Fold folds[] = {", *lines, line, "  {-1, -1, 1, 0},", "};", "", "}  // namespace espalier::unicode", ""]
    Path("core/base/unicode_tables.cpp").write_text("\n".join(out))


if __name__ == "__main__":
    main()
