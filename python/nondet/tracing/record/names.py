"""The names of modules."""

import weakref

import torch


class Modules:
    """The names of modules, by number; 0 is "", outside all modules.

    A name begins with the class of the outermost module in whose call the module was first met:
    "ResNet.layer1.0.conv1". A second outermost module of the same class is "ResNet 2".
    """

    def __init__(self) -> None:
        self.names: list[str] = [""]
        self._numbers: dict[str, int] = {"": 0}
        self._known: dict[int, tuple[weakref.ref[torch.nn.Module], int]] = {}
        self._roots: dict[str, int] = {}
        self._introduced: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()

    def number(self, name: str) -> int:
        """Return the number of a name."""
        if name not in self._numbers:
            self._numbers[name] = len(self.names)
            self.names.append(name)
        return self._numbers[name]

    def find(self, module: torch.nn.Module) -> int | None:
        """Return the number of a module's name, None if it has none yet."""
        known = self._known.get(id(module))
        if known is None or known[0]() is not module:
            return None
        return known[1]

    def enter(self, root: torch.nn.Module) -> str:
        """Name a module that is called outside all others, and all modules in it."""
        kind = type(getattr(root, "_orig_mod", root)).__name__
        count = self._roots[kind] = self._roots.get(kind, 0) + 1
        name = kind if count == 1 else f"{kind} {count}"
        self.spread(root, name)
        return name

    def spread(self, root: torch.nn.Module, name: str) -> None:
        """Name the modules in a named one that have no name yet."""
        for path, module in root.named_modules():
            parts = [part for part in path.split(".") if part and part != "_orig_mod"]
            if self.find(module) is None:
                number = self.number(".".join([name, *parts]))
                self._known[id(module)] = weakref.ref(module), number

    def introduce(self, root: torch.nn.Module) -> bool:
        """Return True for a module that is introduced for the first time."""
        if root in self._introduced:
            return False
        self._introduced.add(root)
        return True
