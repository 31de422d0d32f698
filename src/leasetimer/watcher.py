"""File events of one folder: hints that wake the server. The scan is the truth, a lost event costs an interval."""

from __future__ import annotations

import os
from collections.abc import Callable

from watchdog.events import FileMovedEvent, FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

from . import log


class Watcher(FileSystemEventHandler):
    """Calls ``seen`` with the name of each file that is renamed into place in a folder, from a thread of its own.

    Only renames wake it: leases are published so, and neither their rewriting nor their making does. Follows the path,
    not the inode: ``follow`` puts the watch on the folder that stands there now.
    """

    def __init__(self, path: str, seen: Callable[[str], None]) -> None:
        self._path = path
        self._seen = seen
        self._observer: BaseObserver | None = None
        self.place: tuple[int, int] | None = None  # device and inode of what is watched
        self.watches = 0  # how often a watch has begun
        self._said = ""

    def start(self) -> bool:
        """Start to watch; whether events can be had here (inotify's limits, a file system without them)."""
        try:
            self._observer = Observer()
            self._observer.daemon = True
            self._observer.start()
        except (OSError, RuntimeError) as error:
            self._observer = None
            self._say(error)
        return self._observer is not None

    def follow(self, place: tuple[int, int] | None) -> bool:
        """Watch the folder of that device and inode, if it is not watched yet; whether it is now."""
        if place is None or self._observer is None or not self._observer.is_alive():
            return False
        # A folder made again may have the inode of the one before; what watched that one has ended.
        if place == self.place and all(emitter.is_alive() for emitter in self._observer.emitters):
            return True
        self.place = None
        try:
            self._observer.unschedule_all()
            self._observer.schedule(self, self._path, event_filter=[FileMovedEvent])
        except OSError as error:
            self._say(error)
            return False
        self.place = place
        self.watches += 1
        self._said = ""
        return True

    def stop(self) -> None:
        """Stop watching, at once."""
        if self._observer is not None and self._observer.is_alive():
            self._observer.stop()

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Pass on a rename. Never raises: that would end the observer's thread."""
        self._seen(os.path.basename(os.fsdecode(event.dest_path)))

    def _say(self, error: Exception) -> None:
        if str(error) != self._said:  # tried each second
            self._said = str(error)
            log.warning("no file events, looking each second", path=self._path, error=error)
