#!/usr/bin/env python3
"""The documents say what is there: links lead somewhere, functions and files that are named exist, commands have their verbs."""
import re

from harness import ROOT, case, finish, ok

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", ROOT / "CHANGELOG.md", ROOT / "bench" / "README.md",
         *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "src").rglob("README.md"))]


@case("links_lead_to_files")
def _():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if not re.match(r"https?:", link):
                assert (page.parent / link).exists(), f"{page.relative_to(ROOT)}: {link}"


@case("functions_that_are_named_exist")
def _():
    sources = "\n".join(path.read_text(errors="replace") for folder in ("src", "include")
                        for path in (ROOT / folder).rglob("*.[ch]"))
    for page in PAGES:
        for name in set(re.findall(r"\bqn_[a-z0-9]+(?:_[a-z0-9]+)*\b(?!\*|_)", page.read_text())):
            assert re.search(rf"\b{name}\b", sources), f"{page.relative_to(ROOT)}: {name}"


@case("source_files_that_are_named_exist")
def _():
    for page in PAGES:
        base = page.parent if page.name == "README.md" and "src" in page.parts else ROOT
        for name in set(re.findall(r"`((?:src|tests|tools|examples|docs|bench|include)/[\w./-]+)`", page.read_text())):
            assert (ROOT / name).exists() or (base / name).exists(), f"{page.relative_to(ROOT)}: {name}"


@case("verbs_in_commands_exist")
def _():
    verbs = set(re.findall(r"^  ([a-z]+) ", ok("help").out, re.M))
    for page in PAGES:
        for verb in set(re.findall(r"^(?:    |\$ |`)quern ([a-z]+)\b", page.read_text(), re.M)):
            assert verb in verbs, f"{page.relative_to(ROOT)}: quern {verb}"


@case("recipe_keys_in_commands_exist")
def _():
    schema = ok("schema", "recipe").out
    for page in PAGES:
        for path in set(re.findall(r"--set ([a-z_.]+)=", page.read_text())):
            key = path.split(".")[-1]
            assert f'"{key}"' in schema, f"{page.relative_to(ROOT)}: --set {path}"


finish()
