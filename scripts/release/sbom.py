"""Leaves in the list that cargo-cyclonedx has made what the program is made of: `sbom.py FILE < TREE`.

cargo-cyclonedx asks `cargo metadata`, which does not know which optional dependencies are off: it lists `ring`,
which Cargo.lock has and nothing compiles. `cargo tree` knows; TREE is its answer, a line for each crate. It also
names our own crate by the folder that it was built in, which is nobody else's.
"""

import json
import sys
from pathlib import Path


def main(path: Path, tree: str) -> None:
    text = path.read_text()
    bom = json.loads(text)
    program = bom["metadata"]["component"]
    bom = json.loads(text.replace(program["bom-ref"], f"{program['name']}@{program['version']}"))

    # `name v1.2.3`, and for macros and the program itself something behind that.
    built = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
    listed = {part["bom-ref"]: (part["name"], f"v{part['version']}") for part in bom["components"]}
    missing = built - set(listed.values()) - {(program["name"], f"v{program['version']}")}
    if missing:
        sys.exit(f"sbom.py: {path} lacks {sorted(missing)}")
    absent = {ref for ref, part in listed.items() if part not in built}
    print(f"{len(built) - 1} crates; not built: {', '.join(sorted(listed[ref][0] for ref in absent))}")

    bom["components"] = [part for part in bom["components"] if part["bom-ref"] not in absent]
    bom["dependencies"] = [node for node in bom["dependencies"] if node["ref"] not in absent]
    for node in bom["dependencies"]:
        if "dependsOn" in node:
            node["dependsOn"] = [ref for ref in node["dependsOn"] if ref not in absent]
    path.write_text(json.dumps(bom, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.stdin.read())
