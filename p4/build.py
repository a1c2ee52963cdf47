#!/usr/bin/env python3
"""Compiles the P4 programs of this directory and writes the artefacts that are committed.

    P4C=/path/to/p4c-bm2-ss p4/build.py

Positions in the source are left out of the JSON: they name files of the machine that compiled it, and change with every
comment. `artefacts.sha256` holds the hashes of sources and artefacts; tests/p4_artefacts.rs compares.
"""

import hashlib
import json
import os
import pathlib
import re
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
COMPILER = os.environ.get("P4C", "p4c-bm2-ss")
PROGRAMS = ["fabric", "wcmp"]


def without_positions(value):
    if isinstance(value, dict):
        return {key: without_positions(inner) for key, inner in value.items() if key != "source_info"}
    if isinstance(value, list):
        return [without_positions(inner) for inner in value]
    return value


def with_actions_once(document):
    """The compiler writes an action once for each table that uses it. Tables that share an action selector need the very
    same action: BMv2 would not find what follows the action of a member that the other table knows by another number."""
    first = {}
    number = {}
    for action in document["actions"]:
        body = json.dumps({key: value for key, value in action.items() if key != "id"}, sort_keys=True)
        number[action["id"]] = first.setdefault(body, action)["id"]
    document["actions"] = list(first.values())
    for pipeline in document["pipelines"]:
        for table in pipeline["tables"]:
            table["action_ids"] = [number[action] for action in table["action_ids"]]
            if "default_entry" in table:
                table["default_entry"]["action_id"] = number[table["default_entry"]["action_id"]]
    return document


def compact(document):
    """One line for each element of the lists at the top, so that a difference can be read."""

    def line(value):
        return json.dumps(value, separators=(",", ":"))

    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value:
            parts.append(line(key) + ":[\n" + ",\n".join(map(line, value)) + "\n]")
        else:
            parts.append(line(key) + ":" + line(value))
    return "{\n" + ",\n".join(parts) + "\n}\n"


def build(program):
    artefact = HERE / f"{program}.json"
    info = f"{program}.p4info.txtpb"
    command = [COMPILER, "--std", "p4-16", "--p4runtime-files", info, "-o", artefact.name, f"{program}.p4"]
    subprocess.run(command, cwd=HERE, check=True)
    artefact.write_text(compact(with_actions_once(without_positions(json.loads(artefact.read_text())))))


def main():
    for program in PROGRAMS:
        build(program)
    version = subprocess.run([COMPILER, "--version"], capture_output=True, text=True, check=True)
    number = re.search(r"Version (\S+)", version.stdout + version.stderr).group(1)
    files = sorted(path for pattern in ("*.p4", "*/*.p4", "*.json", "*.txtpb") for path in HERE.glob(pattern))
    lines = [f"# p4c-bm2-ss {number}"]
    lines += [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(HERE)}" for path in files]
    (HERE / "artefacts.sha256").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
