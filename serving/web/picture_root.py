"""The one folder of which pictures are shown, and no path leads out of it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

__all__ = ["ENDINGS", "PictureRoot"]

ENDINGS = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")


class PictureRoot:
    """Finds pictures below a folder.

    Args:
        folder: whose pictures are shown; symbolic links below it are followed as long as they stay below it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve(strict=True)

    def find(self, name: str) -> Path | None:
        """The picture of a name: its path below the folder, with or without the ending.

        Args:
            name: an item's id, or a path with `/` between its parts; it may come from anybody.

        Returns:
            The real path; None where there is no such picture, or it does not lie below the folder.
        """
        if not name or "\\" in name or "\0" in name or name.startswith("/") or ".." in PurePosixPath(name).parts:
            return None
        for ending in ("", *ENDINGS):
            found = self.admit(self.folder / (name + ending))
            if found is not None:
                return found
        return None

    def admit(self, path: Path) -> Path | None:
        """The real path of a picture, where it lies below the folder; otherwise None."""
        try:
            real = path.resolve(strict=True)
            good = real.is_relative_to(self.folder) and real.suffix.lower() in ENDINGS and real.is_file()
        except (OSError, ValueError, RuntimeError):  # missing, not readable, too long, links in a circle
            return None
        return real if good else None

    def names(self, most: int) -> list[str]:
        """Paths of pictures below the folder, without their endings, sorted; of so many files at most."""
        found = []
        for path in self.folder.rglob("*"):
            if path.suffix.lower() in ENDINGS and self.admit(path):
                found.append(path.relative_to(self.folder).with_suffix("").as_posix())
                if len(found) == most:
                    break
        return sorted(found)
