"""The published contracts: JSON Schemas of events, one AsyncAPI 3 and one OpenAPI document, from the code.

The gateway serves the two documents and routes by the OpenAPI one: every operation says in `x-c360-service`
who answers it. Generation is deterministic, so a difference means that code and documents have parted.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

import shared.contracts
from infra.parts import PARTS
from shared.contracts.envelope import EventData, dataschema, event_types
from shared.contracts.subscriptions import SUBSCRIPTIONS

FOLDER = Path(shared.contracts.__file__).with_name("published")
EXCHANGE = "c360.events"
# FastAPI's own form of errors, which no part of ours answers with.
FRAMEWORK_ERRORS = frozenset({"HTTPValidationError", "ValidationError"})
PROBLEM = {
    "title": "Problem",
    "description": "RFC 9457: `type` is a stable path, `errors` name the fields that don't fit.",
    "type": "object",
    "required": ["type", "title", "status"],
    "properties": {
        "type": {"type": "string", "examples": ["/problems/not-found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "request_id": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def generate() -> dict[str, bytes]:
    """Every published document: path below FOLDER -> bytes."""
    documents: dict[str, Any] = {
        dataschema(model.type, model.schema_version).removeprefix("/"): event_schema(model)
        for model in event_types()
    }
    documents["asyncapi.json"] = asyncapi()
    documents["openapi.json"] = openapi()
    return {
        path: orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
        for path, document in sorted(documents.items())
    }


def differing(documents: Mapping[str, bytes], folder: Path = FOLDER) -> list[str]:
    """Paths that are missing, stale or no longer generated."""
    there = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.json")}
    return sorted(name for name in documents.keys() | there.keys() if documents.get(name) != there.get(name))


def write(documents: Mapping[str, bytes], folder: Path = FOLDER) -> None:
    """Write what differs and remove what is no longer generated."""
    for name in differing(documents, folder):
        path = folder / name
        if name in documents:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(documents[name])
        else:
            path.unlink()


def event_schema(model: type[EventData]) -> dict[str, Any]:
    """The JSON Schema (2020-12) of an event's data."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": dataschema(model.type, model.schema_version),
        **model.model_json_schema(mode="serialization"),
        "title": f"{model.type} v{model.schema_version}",
    }


def asyncapi() -> dict[str, Any]:
    """The AsyncAPI 3 document: one channel per event type on one topic exchange, who sends and who hears."""
    models = event_types()
    channels, messages, operations = {}, {}, {}
    for model in models:
        name = f"{model.type}.v{model.schema_version}"
        messages[name] = _message(model)
        channels[model.type] = {
            "address": model.type,
            "description": _first_paragraph(model),
            "messages": {name: {"$ref": f"#/components/messages/{name}"}},
            "bindings": {
                "amqp": {
                    "bindingVersion": "0.3.0",
                    "is": "routingKey",
                    "exchange": {"name": EXCHANGE, "type": "topic", "durable": True},
                }
            },
        }
        channel = {"$ref": f"#/channels/{model.type}"}
        for producer in model.producers():
            operations[f"{producer}.sends.{model.type}"] = {"action": "send", "channel": channel}
        for group, types in SUBSCRIPTIONS.items():
            if model.type in types:
                operations[f"{group}.hears.{model.type}"] = {"action": "receive", "channel": channel}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Customer 360 events",
            "version": "1",
            "description": "CloudEvents 1.0 in JSON over RabbitMQ. At least once, in any order.",
        },
        "defaultContentType": "application/cloudevents+json",
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _message(model: type[EventData]) -> dict[str, Any]:
    envelope = {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "dataschema", "data"],
        "properties": {
            "specversion": {"const": "1.0"},
            "id": {"type": "string", "format": "uuid"},
            "source": _source(model),
            "type": {"const": model.type},
            "time": {"type": "string", "format": "date-time"},
            "datacontenttype": {"const": "application/json"},
            "dataschema": {"const": dataschema(model.type, model.schema_version)},
            "subject": {"type": "string", "description": "The customer's id, when it is about one."},
            "traceparent": {"type": "string"},
            "data": {"$ref": f".{dataschema(model.type, model.schema_version)}"},
        },
    }
    return {"name": model.type, "summary": _first_paragraph(model), "payload": envelope}


def _source(model: type[EventData]) -> dict[str, Any]:
    sources = [f"/{producer}" for producer in model.producers()]
    return {"const": sources[0]} if len(sources) == 1 else {"enum": sources}


def openapi() -> dict[str, Any]:
    """One OpenAPI document of the whole system, merged from the five apps.

    Raises:
        ValueError: two apps answer the same operation, or give one name to two different schemas.
    """
    merged: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Customer 360", "version": "1", "description": "Everything behind the gateway."},
        "paths": {},
        "components": {"schemas": {"Problem": PROBLEM}, "securitySchemes": {}},
    }
    for name, document in app_documents().items():
        _merge(merged, document, name)
    return merged


def app_documents() -> dict[str, dict[str, Any]]:
    """The OpenAPI document of each app by itself. Apps are made without their servers."""
    os.environ.setdefault("C360_INTERNAL_SECRET", "-" * 32)
    os.environ.setdefault("C360_WEBHOOK_SECRET_KEY", "-" * 32)
    return {part.name: part.create_app(part.settings(amqp_url=None)).openapi() for part in PARTS}


def _merge(merged: dict[str, Any], document: Mapping[str, Any], service: str) -> None:
    renamed = _renames(merged["components"]["schemas"], document, service)
    document = _with_references(document, renamed)
    for path, item in document.get("paths", {}).items():
        target = merged["paths"].setdefault(path, {})
        for method, operation in item.items():
            if method in target:
                raise ValueError(f"{service} and another part both answer {method.upper()} {path}")
            target[method] = _described(operation, service) if isinstance(operation, dict) else operation
    components = document.get("components", {})
    for name, schema in components.get("schemas", {}).items():
        if name in FRAMEWORK_ERRORS:
            continue
        merged["components"]["schemas"][renamed.get(name, name)] = schema
    merged["components"]["securitySchemes"] |= components.get("securitySchemes", {})


def _described(operation: dict[str, Any], service: str) -> dict[str, Any]:
    """The operation with its service and the form that every error has."""
    responses = {status: dict(answer) for status, answer in operation.get("responses", {}).items()}
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, answer in responses.items():
        if status[0] in "45":
            answer["content"] = problem
    responses.setdefault("default", {"description": "A problem document", "content": problem})
    name = operation.get("operationId", "")
    return operation | {
        "x-c360-service": service,
        "tags": operation.get("tags") or [service],
        "operationId": name if name.startswith(f"{service}_") else f"{service}_{name}",
        "responses": responses,
    }


def _renames(taken: Mapping[str, Any], document: Mapping[str, Any], service: str) -> dict[str, str]:
    """New names for schemas whose name another part uses for something else, and for what refers to them."""
    schemas = document.get("components", {}).get("schemas", {})
    renamed: dict[str, str] = {}
    while True:
        found = {
            name: f"{service.capitalize()}{name}"
            for name, schema in schemas.items()
            if name in taken and taken[name] != _with_references(schema, renamed)
        }
        if found.keys() == renamed.keys():
            return renamed
        renamed = found


def _with_references(value: Any, renamed: Mapping[str, str]) -> Any:
    """The document with references following the renamed schemas."""
    if not renamed:
        return value
    if isinstance(value, list):
        return [_with_references(item, renamed) for item in value]
    if not isinstance(value, dict):
        return value
    prefix = "#/components/schemas/"
    return {
        key: prefix + renamed.get(item.removeprefix(prefix), item.removeprefix(prefix))
        if key == "$ref" and isinstance(item, str) and item.startswith(prefix)
        else _with_references(item, renamed)
        for key, item in value.items()
    }


def _first_paragraph(model: type[EventData]) -> str:
    return " ".join((model.__doc__ or "").split("\n\n", 1)[0].split())
