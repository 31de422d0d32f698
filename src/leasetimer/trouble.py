"""What can't be read, judged or removed, by file: each problem said once, however often it is met."""

from __future__ import annotations

from . import log
from .directory import Folder


class Trouble(dict[str, str]):
    """The problems there are now, by name in a folder."""

    def __init__(self, folder: Folder) -> None:
        super().__init__()
        self._folder = folder

    def say(self, name: str, event: str, problem: object) -> None:
        """Log that, unless it was the last that was said of this file."""
        text = getattr(problem, "strerror", None) or str(
            problem
        )  # without the file's name, which may be a new one each time
        if self.get(name) != text:
            self[name] = text
            log.warning(event, file=self._folder.join(name), problem=text)

    def keep(self, names: set[str]) -> None:
        """Forget what is not about these any more."""
        for name in self.keys() - names:
            del self[name]
