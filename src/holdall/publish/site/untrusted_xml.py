"""XML of others as a tree of plain values: no entities, no network, bounded in every direction."""

from collections.abc import Iterator
from typing import NamedTuple
from xml.parsers import expat

from holdall.errors import CorruptError

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 64
MAX_NODES = 50_000
LANGUAGE = "http://www.w3.org/XML/1998/namespace lang"


class Node(NamedTuple):
    """An element: local name, namespace, attributes, and elements and text in it.

    An attribute that has a namespace goes by namespace, a space and its name.
    """

    name: str
    namespace: str
    attributes: dict[str, str]
    content: "list[Node | str]"

    @property
    def elements(self) -> "Iterator[Node]":
        """The elements right below it."""
        return (item for item in self.content if isinstance(item, Node))

    def named(self, name: str) -> "Iterator[Node]":
        """Those of one name."""
        return (item for item in self.elements if item.name == name)

    def all(self) -> "Iterator[Node]":
        """Itself and every element in it, in order."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(reversed(list(node.elements)))

    @property
    def text(self) -> str:
        """All text in it."""
        return "".join(
            item if isinstance(item, str) else "".join(_strings(item)) for item in self.content
        )

    @property
    def language(self) -> str:
        """Its ``xml:lang``, or nothing."""
        return self.attributes.get(LANGUAGE, "")


def _strings(node: Node) -> Iterator[str]:
    for item in node.content:
        if isinstance(item, str):
            yield item
        else:
            yield from _strings(item)


def parse(data: bytes, what: str) -> Node:
    """Read a document; raises CorruptError for one that is malformed, too large or has entities.

    Its stylesheets and other instructions are refused, too; `what` names it in errors.
    """
    if len(data) > MAX_BYTES:
        raise CorruptError(f"{what} is longer than {MAX_BYTES} bytes.")
    root = Node("", "", {}, [])
    _Reader(root, what).read(data)
    return next(root.elements)


class _Reader:
    """Fills a node with what expat reports."""

    def __init__(self, root: Node, what: str) -> None:
        self._open = [root]
        self._count = 0
        self._what = what

    def read(self, data: bytes) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.EntityDeclHandler = self._refuse
        parser.ProcessingInstructionHandler = self._refuse
        try:
            parser.Parse(data, True)  # noqa: FBT003 - expat takes it by place
        except (expat.ExpatError, ValueError, UnicodeError) as error:
            raise CorruptError(f"{self._what} is not well-formed XML: {error}.") from error

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) > MAX_DEPTH or self._count > MAX_NODES:
            raise CorruptError(f"{self._what} has too many elements, or too deep ones.")
        namespace, _, local = name.rpartition(" ")
        node = Node(local, namespace, attributes, [])
        self._open[-1].content.append(node)
        self._open.append(node)

    def _end(self, _name: str) -> None:
        self._open.pop()

    def _text(self, text: str) -> None:
        self._open[-1].content.append(text)

    def _refuse(self, *_declared: object) -> None:
        raise CorruptError(f"{self._what} has an entity or an instruction; such XML is refused.")
