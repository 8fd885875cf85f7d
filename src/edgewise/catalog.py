"""Finds components: a class in a module of a catalogue package is in the catalogue, and nothing else is.

A component is a final frozen dataclass with a field `kind: Literal["name"] = "name"`, a docstring and a
`source`. A dataclass field annotated with a catalogue's base class (say `loss: Loss`) accepts every component
of it when pydantic validates an experiment file, chosen by `kind`; a new file needs no registration anywhere.
"""

import importlib
import inspect
import pkgutil
from abc import ABC
from functools import cache
from typing import Any, ClassVar, TypeVar

C = TypeVar("C", bound="Component")


class Component(ABC):
    """Base of every catalogue's base class.

    Attributes:
        source: where the idea comes from: authors, year, DOI or arXiv number.
        package: set by a catalogue's base class: the package whose modules are searched.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid", "use_attribute_docstrings": True}
    kind: Any
    source: ClassVar[str]
    package: ClassVar[str]

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> Any:
        """A catalogue's base class stands for any of its components, told apart by `kind`."""
        if not inspect.isabstract(cls):
            return handler(source)
        from pydantic_core import core_schema

        choices = {kind: handler.generate_schema(choice) for kind, choice in discover(cls).items()}
        return core_schema.tagged_union_schema(choices, discriminator="kind")


@cache
def discover(base: type[C]) -> dict[str, type[C]]:
    """Import every module of the package of `base`; return its concrete subclasses by `kind`, sorted.

    Raises:
        TypeError: two components share a kind, or one has none, or names no source.
    """
    found: dict[str, type[C]] = {}
    package = importlib.import_module(base.package)
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{base.package}.{info.name}")
        for _, cls in inspect.getmembers(module, inspect.isclass):
            own = cls.__module__ == module.__name__
            if not own or not issubclass(cls, base) or inspect.isabstract(cls):
                continue
            kind = _kind(cls)
            if kind in found:
                raise TypeError(f"two components are called {kind!r}: {found[kind]} and {cls}")
            found[kind] = cls
    return dict(sorted(found.items()))


def _kind(cls: type[Any]) -> str:
    value = cls.__dict__.get("kind")
    if not isinstance(value, str):
        raise TypeError(f"{cls.__qualname__} needs a field `kind: Literal['...'] = '...'`")
    if not isinstance(getattr(cls, "source", None), str):
        raise TypeError(f"{cls.__qualname__} needs `source: ClassVar = '...'`")
    return value
