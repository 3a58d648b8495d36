"""Makes the texts that tiny.lmv was trained on: ROOT/train/*.txt and ROOT/val/*.txt.

    pip download --no-deps --no-binary :all: pythonbible==0.13.1     # the King James Bible, public domain
    curl -LO https://static.crates.io/crates/esaxx-rs/esaxx-rs-0.1.10.crate   # Around the World in 80 Days, Gutenberg #103
    python texts.py pythonbible-0.13.1.tar.gz esaxx-rs-0.1.10.crate ROOT

The last twenty-fifth of each text is held back. Needs nothing but Python.
"""
import hashlib
import pathlib
import re
import sys
import tarfile


def member(archive, ending):
    with tarfile.open(archive) as tar:
        [name] = [name for name in tar.getnames() if name.endswith(ending)]
        return tar.extractfile(name).read().decode("utf-8-sig")


def bible(archive):
    text = member(archive, "bible/kjv/plain_text.py").split('"""', 1)[1].split('"""', 1)[0]
    return re.sub(r"(?m)(^|\s)\d+\. ", r"\1", text).strip() + "\n"


def novel(archive):
    text = member(archive, "data/eighty.txt").replace("\r\n", "\n")
    text = re.split(r"\*\*\* ?(?:START|END) OF TH[^\n]*\n", text)[1]
    # Lines of a paragraph become one.
    paragraphs = [" ".join(lines.split()) for lines in re.split(r"\n\s*\n", text)]
    return "\n".join(paragraph for paragraph in paragraphs if paragraph) + "\n"


kjv, eighty, root = sys.argv[1:4]
for name, text in (("kjv", bible(kjv)), ("eighty_days", novel(eighty))):
    data = text.encode()
    cut = data.index(b"\n", len(data) * 24 // 25) + 1
    for split, part in (("train", data[:cut]), ("val", data[cut:])):
        path = pathlib.Path(root, split, f"{name}.txt")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(part)
        print(path, len(part), "bytes", hashlib.sha256(part).hexdigest()[:16])
