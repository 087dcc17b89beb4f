"""The OpenAPI document as a page: every operation with its parameters, bodies and answers."""

from collections.abc import Iterator, Mapping
from typing import Any

_OPENING = """# REST in full

Written from [the OpenAPI document](openapi.json), which a running service has at `/openapi.json`, and to try out at
`/docs`. [REST by example](../api.md) shows how calls belong together.
"""


def rest(document: Mapping[str, Any]) -> str:
    """The page as Markdown."""
    groups: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            group = (operation.get("tags") or ["service"])[0]
            groups.setdefault(group, []).append("\n".join(_operation(method.upper(), path, operation)))
    written = [f"## {group.capitalize()}\n\n" + "\n".join(found) for group, found in sorted(groups.items())]
    return "\n".join([_OPENING, *written, "## Bodies\n", *_bodies(document)])


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{method} {path}`\n"
    told = operation.get("description") or operation.get("summary", "")
    yield f"{_plain(told)}\n"
    parameters = operation.get("parameters", [])
    if parameters:
        yield "| parameter | in | type | what |\n|---|---|---|---|"
        for one in parameters:
            name = f"`{one['name']}`" + (" (needed)" if one.get("required") else "")
            about = one.get("description") or one["schema"].get("description", "")
            yield f"| {name} | {one['in']} | {_kind(one['schema'])} | {_cell(about)} |"
        yield ""
    if "requestBody" in operation:
        yield "Body: " + ", ".join(_media(operation["requestBody"]["content"])) + "\n"
    yield "| status | answer |\n|---|---|"
    for status, answer in operation["responses"].items():
        kinds = ", ".join(_media(answer.get("content", {})))
        yield f"| {status} | {_cell(answer.get('description', ''))} {kinds} |"
    yield ""


def _bodies(document: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in sorted(document.get("components", {}).get("schemas", {}).items()):
        yield f"### {name}\n\n{_plain(schema.get('description', ''))}\n"
        if schema.get("properties"):
            yield "| field | type | what |\n|---|---|---|"
            for field, one in schema["properties"].items():
                yield f"| `{field}` | {_kind(one)} | {_cell(one.get('description', ''))} |"
            yield ""


def _media(content: Mapping[str, Any]) -> list[str]:
    return [f"`{media}` {_kind(one.get('schema', {}))}".strip() for media, one in content.items()]


def _kind(schema: Mapping[str, Any]) -> str:
    """A type in a word or two, linked where it is a body."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_kind(one) for one in schema[several]))
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {})) or 'values'}"
    kind = schema.get("type", "")
    return " or ".join(kind) if isinstance(kind, list) else kind


def _cell(text: str) -> str:
    return _plain(" ".join(text.split())).replace("|", "\\|")


def _plain(text: str) -> str:
    """Text whose brackets and stars are no Markdown of ours."""
    return text.replace("[", "\\[").replace("<", "&lt;").replace("*", "\\*").strip()
