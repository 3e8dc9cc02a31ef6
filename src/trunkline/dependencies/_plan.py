"""The plan of an endpoint: everything that it and its dependencies take, in the order in which it is to be had.

A plan is made once, when a route is made, and each connection only goes through its steps. A step is one call: the
arguments that it takes, and the slot that its value goes into. Values are known by slot, never by name, so that two
parameters of one name have nothing to do with each other. Each call stands in the plan once for each lifetime, which
is what caching means; with `use_cache=False` once for each place where it is asked for.

Steps are in two stages. Those of the first are done once for a connection. Those of the second, which only a listener
has, are done for each message: what has the lifetime `message` or `function`, and whoever takes what the caller gives
with a message.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from trunkline.dependencies._arguments import BASES, Needs, Special, argument
from trunkline.dependencies._fields import ATTRIBUTES, FAILED, Field
from trunkline.dependencies._markers import Dependency, DependencyError
from trunkline.dependencies._signatures import Kind, described, kind_of, makes_context_manager, parameters_of
from trunkline.dependencies._teardown import context_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from trunkline.dependencies._markers import Lifetime
    from trunkline.dependencies._signatures import Given
    from trunkline.dependencies._solution import Solution
    from trunkline.types import Scope

# The longer a lifetime, the lower its rank: what lives long cannot hold what ends before it.
_RANKS: Mapping[Lifetime, int] = {"connection": 0, "message": 1, "function": 2}
_LIFETIMES = list(_RANKS)
_NEVER = len(_RANKS)
_GENERATORS = (Kind.GENERATOR, Kind.ASYNC_GENERATOR)
_PLACES = list(ATTRIBUTES)


class Binding:
    """The arguments of one call, each with where it is found."""

    __slots__ = ("fields", "slots", "specials")

    def __init__(
        self, slots: Sequence[tuple[str, int]], fields: Sequence[Field], specials: Sequence[tuple[str, Any]]
    ) -> None:
        self.slots = tuple(slots)
        # Errors are told by place, as FastAPI tells them.
        self.fields = tuple(sorted(fields, key=lambda one: _PLACES.index(one.place)))
        self.specials = tuple(specials)

    def arguments(self, solution: Solution) -> dict[str, Any] | None:
        """The arguments on a connection; None, and errors in the solution, if one of them cannot be had."""
        connection = solution.connection
        errors = solution.errors
        before = len(errors)
        found = {}
        for one in self.fields:
            found[one.name] = one.read(connection, errors)
        failed = len(errors) != before
        values = solution.values
        for name, slot in self.slots:
            value = found[name] = values[slot]
            failed = failed or value is FAILED
        for name, get in self.specials:
            found[name] = get(solution)
        return None if failed else found


class Step(NamedTuple):
    """One call of a dependency."""

    call: Callable[..., Any]
    kind: Kind
    lifetime: Lifetime
    binding: Binding
    slot: int


class Stage:
    """What is done at one time: the calls of dependencies, and then the arguments of the endpoint.

    Attributes:
        steps: The calls, in order.
        batches: The same; those beside each other that run in a worker thread go there together.
        target: The arguments.
    """

    __slots__ = ("batches", "steps", "target")

    def __init__(self, steps: Sequence[Step], target: Binding) -> None:
        self.steps = tuple(steps)
        self.batches: list[tuple[Step, ...]] = []
        for is_plain, group in itertools.groupby(steps, lambda step: step.kind is Kind.SYNC):
            beside = tuple(group)
            self.batches += [beside] if is_plain else [(step,) for step in beside]
        self.target = target


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a plan is made from, and made from again where dependencies are overridden.

    Attributes:
        endpoint: The function whose parameters are to be filled; None where only `dependencies` are to be solved.
        dependencies: What is solved before, and whose values nobody takes.
        protocol: `"http"` or `"websocket"`.
        path_names: The names of the path's parameters.
        is_listener: Whether the endpoint is called for each message.
        claims: For a listener: given a parameter, the key under which the caller gives its value with each message;
            None for parameters that it leaves to the plan.
    """

    endpoint: Callable[..., Any] | None
    dependencies: tuple[Any, ...]
    protocol: str
    path_names: frozenset[str] = frozenset()
    is_listener: bool = False
    claims: Callable[[Given], Any] = field(default=lambda _: None)


class Plan:
    """How to fill the parameters of an endpoint on each connection.

    Args:
        recipe: What the plan is made from.
        overrides: What is called instead of a dependency.

    Attributes:
        stages: For a connection, and for a message of it: the calls of dependencies, in order, and those arguments of
            the endpoint itself that are had there.
        size: The number of slots.
        connection_class: What the connection must be made with: `Request` or `WebSocket`, or a subclass that is asked
            for.
        takes_connection: Whether anybody asks for the connection.
        lifetimes: Those at whose end something is torn down.
        claimed: The parameters of a listener that get what comes with a message, each with its key.
        is_immediate: Whether nothing else is had for a message: then no solution of its own is needed.

    Raises:
        DependencyError: Something could not be had on any connection; the message has the chain that leads there.
    """

    def __init__(self, recipe: Recipe, overrides: Mapping[Any, Any] | None = None) -> None:
        self.recipe = recipe
        compiler = _Compiler(recipe, overrides or {})
        self.stages = compiler.compiled()
        self.size = compiler.size
        self.connection_class = compiler.connection_class
        self.takes_connection = compiler.takes_connection
        self.claimed = tuple(compiler.claimed)
        message = self.stages[1]
        self.is_immediate = not message.steps and len(message.target.specials) == len(self.claimed)
        steps = [step for stage in self.stages for step in stage.steps]
        self.lifetimes = frozenset(step.lifetime for step in steps if step.kind in _GENERATORS)
        self._overridden: tuple[dict[Any, Any], Plan] | None = None

    def on(self, scope: Scope) -> Plan:
        """The plan for a connection: this one, or that with what its application overrides."""
        overrides = getattr(scope.get("app"), "dependency_overrides", None)
        if not overrides:
            return self
        if self._overridden is None or self._overridden[0] != overrides:
            self._overridden = dict(overrides), Plan(self.recipe, overrides)
        return self._overridden[1]


class _Node(NamedTuple):
    """A call as its dependants see it.

    Attributes:
        slot: Where its value is.
        stage: 1 if it is called for each message.
        lifetime: As it was asked for.
        ends: The rank of the shortest lifetime of all generators that its value may hold on to.
    """

    slot: int
    stage: int
    lifetime: Lifetime
    ends: int


_MESSAGE = _Node(-1, 1, "message", 0)


class _Draft:
    """The arguments of a call, while they are being found."""

    def __init__(self) -> None:
        self.slots: list[tuple[str, int]] = []
        self.fields: list[Field] = []
        self.specials: list[tuple[str, Any]] = []
        self.ends = 0

    def binding(self) -> Binding:
        return Binding(self.slots, self.fields, self.specials)


class _Compiler:
    """Walks through an endpoint's parameters and those of its dependencies, depth first."""

    def __init__(self, recipe: Recipe, overrides: Mapping[Any, Any]) -> None:
        self.recipe = recipe
        self.overrides = overrides
        self.size = 0
        self.connection_class = BASES[recipe.protocol]
        self.takes_connection = False
        self.claimed: list[tuple[str, Any]] = []
        self._steps: tuple[list[Step], list[Step]] = ([], [])
        self._cached: dict[Any, _Node] = {}
        self._chain: list[tuple[Any, str]] = []  # what leads to the parameter at hand: calls, each with a parameter

    def compiled(self) -> tuple[Stage, Stage]:
        """The two stages."""
        for dependency in self.recipe.dependencies:
            if not isinstance(dependency, Dependency) or dependency.call is None:
                raise self._error(f"`dependencies` is a list of Depends(function), but has {dependency!r}")
            self._chain.append((None, "dependencies"))
            self._node(dependency.call, dependency)
            self._chain.pop()
        first, second = _Draft(), _Draft()
        if self.recipe.endpoint is not None:
            self._fill(self.recipe.endpoint, _Node(-1, int(self.recipe.is_listener), "function", _NEVER), first, second)
        return Stage(self._steps[0], first.binding()), Stage(self._steps[1], second.binding())

    def _fill(self, call: Callable[..., Any], node: _Node, first: _Draft, second: _Draft) -> None:
        """Find the arguments of a call; those that are had for each message go into `second`."""
        for given in parameters_of(call):
            self._chain.append((call, given.name))
            claimed = self.recipe.claims(given)
            if claimed is not None:
                self._check_lifetimes(node, _MESSAGE, "what comes with a message,")
                second.specials.append((given.name, _from_message(claimed)))
                if call is self.recipe.endpoint:
                    self.claimed.append((given.name, claimed))
            else:
                self._fill_one(given, call, node, (first, second))
            self._chain.pop()

    def _fill_one(self, given: Given, call: Callable[..., Any], node: _Node, drafts: tuple[_Draft, _Draft]) -> None:
        try:
            found = argument(given, call, self.recipe.protocol, self.recipe.path_names)
        except DependencyError as error:
            raise self._error(str(error)) from error.__cause__
        if isinstance(found, Needs):
            needed = self._node(found.call, found.marker)
            self._check_lifetimes(node, needed, described(found.call))
            drafts[0].ends = max(drafts[0].ends, needed.ends)
            drafts[needed.stage].slots.append((given.name, needed.slot))
        elif isinstance(found, Field):
            drafts[0].fields.append(found)
        elif found is not None:
            drafts[int(found.connection is None and node.stage)].specials.append((given.name, found.get))
            self._ask_for(found)

    def _ask_for(self, special: Special) -> None:
        cls = special.connection
        if cls is None:
            return
        self.takes_connection = True
        if issubclass(cls, self.connection_class):
            self.connection_class = cls
        elif not issubclass(self.connection_class, cls):
            raise self._error(
                f"a connection cannot be both a {self.connection_class.__name__} and a {cls.__name__}; "
                "derive one from the other"
            )

    def _node(self, wanted: Callable[..., Any], marker: Dependency) -> _Node:
        call = self.overrides.get(_known_by(wanted), wanted)
        if self._is_within(call):
            call = wanted  # an override that takes what it overrides
        self._check_call(wanted, call, marker.lifetime)
        key = (_known_by(wanted), _known_by(call), marker.lifetime)
        if marker.use_cache and key in self._cached:
            return self._cached[key]
        kind = kind_of(call)
        stage = int(self.recipe.is_listener and marker.lifetime != "connection")
        own_end = _RANKS[marker.lifetime] if kind in _GENERATORS else None
        draft = _Draft()
        self._fill(call, _Node(-1, stage, marker.lifetime, _NEVER if own_end is None else own_end), draft, draft)
        node = _Node(self.size, stage, marker.lifetime, max(draft.ends, own_end or 0))
        self.size += 1
        self._steps[stage].append(Step(context_of(call, kind), kind, marker.lifetime, draft.binding(), node.slot))
        return self._cached.setdefault(key, node) if marker.use_cache else node

    def _is_within(self, call: Any) -> bool:
        return any(_known_by(caller) == _known_by(call) for caller, _ in self._chain)

    def _check_call(self, wanted: Any, call: Any, lifetime: Lifetime) -> None:
        if not callable(call):
            raise self._error(f"{described(wanted)} is overridden by {call!r}, which cannot be called")
        if self._is_within(call):
            raise self._error(f"{described(call)} depends on itself")
        if makes_context_manager(call):
            raise self._error(
                f"{described(call)} is decorated with @contextmanager or @asynccontextmanager; remove the decorator, "
                "since a dependency is the generator function itself"
            )
        if lifetime == "message" and not self.recipe.is_listener:
            raise self._error(
                f'{described(call)} has the scope "message", but only a listener has messages; '
                'use the scope "connection" or "function" here'
            )

    def _check_lifetimes(self, node: _Node, needed: _Node, what: str) -> None:
        if needed.stage > node.stage or needed.ends > node.ends:
            scope = needed.lifetime if needed.stage > node.stage else _LIFETIMES[needed.ends]
            raise self._error(
                f'a dependency of scope "{node.lifetime}" depends on {what} of scope "{scope}", which ends before it; '
                f'give it the scope "{scope}" too'
            )

    def _error(self, words: str) -> DependencyError:
        if len(self._chain) < 2:
            return DependencyError(words)
        links = [name if call is None else f"{described(call)}: {name}" for call, name in self._chain]
        return DependencyError(f"{words}\n  reached through {' -> '.join(links)}")


def _known_by(call: Any) -> Any:
    """What tells a callable from others: itself, since a method is another object each time; or where it is."""
    try:
        hash(call)
    except TypeError:
        return id(call)
    return call


def _from_message(key: Any) -> Callable[[Solution], Any]:
    return lambda solution: solution.given[key]
