"""Templates, style sheets and scripts of the reports, as they are put into self-contained pages."""

from importlib.resources import files

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup


def template(name: str, package: str = "minadv.report") -> Template:
    """Return a template that escapes every name put into it, and refuses one that it was not given."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_text(name, package))


def asset(name: str, package: str = "minadv.report") -> Markup:
    """Return a style sheet or script of our own as markup."""
    return Markup(_text(name, package))  # noqa: S704 (ours)


def _text(name: str, package: str) -> str:
    return files(package).joinpath(name).read_text(encoding="utf-8")
