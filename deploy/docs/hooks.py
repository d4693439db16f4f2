"""What MkDocs calls while it builds the site: pages of the repository and of the code become pages of the site."""

from typing import Any

import reference
import sources
from mkdocs.structure.files import File, Files


def on_files(files: Files, config: Any) -> Files:
    """Put in the pages that stand elsewhere in the repository, the pictures, and the reference."""
    made = {place: text for place, text in sources.pages() if place in sources.WHOLE}
    for place, text in (made | reference.pages()).items():
        files.append(File.generated(config, place, content=text))
    for path in sources.pictures():
        files.append(File.generated(config, f"pictures/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Put in the sections that a page includes."""
    return sources.expanded(markdown, page.file.src_uri)
