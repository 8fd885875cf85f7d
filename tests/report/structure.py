"""What a page consists of, read by Python's own parser."""

import re
from html.parser import HTMLParser

from edgewise.report.page import write

VOID = {"meta", "link", "br", "img", "path", "image", "use", "input"}


class Structure(HTMLParser):
    """Tags, ids, links and text of a page; unbalanced tags fail."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.ids, self.links, self.words = [], [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        given = dict(attributes)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[key] for key in ("href", "src", "xlink:href") if key in given]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if not self.open or self.open[-1] not in {"style", "script"}:
            self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))


def page(runs, path, *judged):
    write(runs, path, *judged)
    return parsed(path)


def parsed(path):
    structure = Structure()
    structure.feed(path.read_text(encoding="utf-8"))
    structure.close()
    assert not structure.open
    return structure
