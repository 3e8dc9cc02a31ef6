"""Find the application that the user names as `module:attribute`, and say in words what is wrong with the name."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from typing import TYPE_CHECKING, Any

from trunkline.exceptions import TrunklineError

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["CommandError", "check_module", "load_application"]


class CommandError(TrunklineError):
    """A command was asked for something that cannot be: shown as one message, without a traceback, exit code 2."""


def _split(target: str) -> tuple[str, str]:
    module, colon, attribute = target.partition(":")
    if module.endswith(".py"):
        dotted = module.removesuffix(".py").strip("./").replace("/", ".")
        raise CommandError(f"expected module:attribute, but {module!r} is a file; write {dotted}:{attribute or 'app'}")
    if not (module and colon and attribute):
        raise CommandError(f"expected module:attribute, for example {module or 'main'}:app, but got {target!r}")
    return module, attribute


def _missing(name: str) -> CommandError:
    return CommandError(f"there is no module {name!r} in {sys.path[0]} or among the packages")


def check_module(target: str, *, directory: str) -> None:
    """Refuse a name whose module does not exist, without running the module.

    Args:
        target: The application as `module:attribute`.
        directory: Where modules are looked for first.

    Raises:
        CommandError: The name is malformed, or there is no such module.
    """
    module, _ = _split(target)
    sys.path.insert(0, directory)
    try:
        found = importlib.util.find_spec(module)
    except ModuleNotFoundError:  # a parent package is missing
        found = None
    if found is None:
        raise _missing(module)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        # An import that fails inside the user's module is the user's to read, with its traceback.
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise _missing(name) from None


def _takes_a_connection(value: object) -> bool:
    """Whether `value` can be called with scope, receive and send, as ASGI 3 applications are."""
    try:
        inspect.signature(value).bind(None, None, None)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return False
    return not isinstance(value, type)


def _applications(module: ModuleType) -> list[str]:
    """The names in a module that look like applications: what to offer for a mistyped one."""
    instances = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and not inspect.isroutine(value) and not isinstance(value, type)
    }
    return [name for name, value in instances.items() if callable(value) and _takes_a_connection(value)]


def _attribute(module: ModuleType, path: str) -> Any:
    value: Any = module
    for name in path.split("."):
        try:
            value = getattr(value, name)
        except AttributeError:
            others = ", ".join(f"{module.__name__}:{other}" for other in _applications(module))
            hint = f"; did you mean {others}?" if others else ""
            raise CommandError(f"module {module.__name__!r} has no attribute {path!r}{hint}") from None
    return value


def load_application(target: str, *, directory: str, factory: bool = False) -> Any:
    """Import the application that `target` names.

    Args:
        target: The application as `module:attribute`; the attribute may be dotted.
        directory: Where modules are looked for first.
        factory: Whether the attribute is a function that makes the application. It is not called here.

    Returns:
        The application, or the factory.

    Raises:
        CommandError: The name is malformed, there is no such module or attribute, or what it names is no ASGI
            application.
    """
    module, path = _split(target)
    sys.path.insert(0, directory)
    value = _attribute(_import(module), path)
    if factory:
        if not callable(value):
            raise CommandError(
                f"expected {target!r} to be a function that makes an application, but it is {_kind(value)}"
            )
    elif not _takes_a_connection(value):
        raise CommandError(f"{target!r} is no ASGI application: {_remedy(value)}")
    return value


def _kind(value: object) -> str:
    if isinstance(value, type):
        return f"the class {value.__name__}"
    if inspect.isroutine(value):
        return f"the function {value.__name__}{inspect.signature(value)}"
    return f"of type {type(value).__name__}"


def _remedy(value: object) -> str:
    if isinstance(value, type):
        return f"it is {_kind(value)}; name an instance of it"
    if inspect.isroutine(value) and not inspect.signature(value).parameters:
        return f"it is {_kind(value)}; if it makes the application, add --factory"
    if inspect.isroutine(value):
        return f"it is {_kind(value)}; give it to an App as an endpoint, and name the App"
    return f"it is {_kind(value)}; expected an App, or any callable that takes scope, receive and send"
