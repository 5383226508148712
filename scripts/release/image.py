"""Takes out of an image what is there by chance, so that the same layers make the same file: `image.py ARCHIVE`.

Docker's format has places for the container that a layer was made in, and buildah fills them in: its number, its
name, the image before. Nothing reads them. ARCHIVE is one of `docker-archive`; only what `docker load` reads stays.
"""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path


def without_chance(config: dict) -> dict:
    for key in ["container", "parent"]:
        config.pop(key, None)
    for settings in [config["config"], config.get("container_config", {})]:
        settings.pop("Hostname", None)
    for step in config["history"]:
        step.pop("comment", None)
    return config


def main(path: Path) -> None:
    with tarfile.open(path) as archive:
        files = {part.name: archive.extractfile(part).read() for part in archive if part.isfile()}
    manifest = json.loads(files["manifest.json"])
    [image] = manifest
    config = json.dumps(without_chance(json.loads(files[image["Config"]]))).encode()
    # The name of an image is what its configuration hashes to.
    image["Config"] = hashlib.sha256(config).hexdigest() + ".json"
    files |= {image["Config"]: config, "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(path, "w") as archive:
        for name in [*image["Layers"], image["Config"], "manifest.json"]:
            part = tarfile.TarInfo(name)
            part.size = len(files[name])
            archive.addfile(part, io.BytesIO(files[name]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
