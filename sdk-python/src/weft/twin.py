"""A call and its asyncio twin, from one plan.

A plan is a generator that yields ops (64 bytes), is sent their events, and returns the call's
result; it owns, as its locals, all memory that the op in flight names. So the same few lines are
`ns.save(...)`, which waits in its thread, and `await ns.save.aio(...)`; `Namespace.save(ns, ...)`,
of the class, is the plan itself, for plans made of plans.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Generator
from typing import (
    Any,
    Concatenate,
    Generic,
    NamedTuple,
    ParamSpec,
    Protocol,
    TypeAlias,
    TypeVar,
    overload,
)


class Event(NamedTuple):
    """How an op ended: weft_event without its tag. status: 0 or more, or a negated code; the kind
    says what else is in it."""

    status: int
    value: int
    handle: int
    detail: int


T = TypeVar("T")
P = ParamSpec("P")
Plan: TypeAlias = Generator[bytes, Event, T]


class Drives(Protocol):
    """Carries out plans: Driver."""

    def run(self, plan: Plan[T]) -> T:
        """In this thread."""

    async def run_in_loop(self, plan: Plan[T]) -> T:
        """In the running loop."""


class Driven(Protocol):
    """What has calls with twins: it says who carries them out."""

    @property
    def _driver(self) -> Drives: ...


S = TypeVar("S", bound=Driven)


class Call(Generic[P, T]):
    """A call and its twin, bound to their object."""

    __slots__ = ("_owner", "_plan")

    def __init__(self, plan: Callable[..., Plan[T]], owner: Driven) -> None:
        self._plan, self._owner = plan, owner

    def __call__(self, *arguments: P.args, **named: P.kwargs) -> T:
        """Waits in this thread."""
        return self._owner._driver.run(self._plan(self._owner, *arguments, **named))

    def aio(self, *arguments: P.args, **named: P.kwargs) -> Coroutine[Any, Any, T]:
        """Waits in the running asyncio loop; cancelling cancels the op."""
        return self._owner._driver.run_in_loop(self._plan(self._owner, *arguments, **named))

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        """What the call does, for a notebook's `ns.save?`."""
        return self._plan.__doc__

    @property
    def __signature__(self) -> inspect.Signature:
        """The call's, without its object."""
        whole = inspect.signature(self._plan)
        return whole.replace(parameters=list(whole.parameters.values())[1:])


class twin(Generic[S, P, T]):  # noqa: N801 - a decorator
    """Makes a method that returns a plan into a call with a twin."""

    def __init__(self, plan: Callable[Concatenate[S, P], Plan[T]]) -> None:
        self._plan = plan

    @overload
    def __get__(self, owner: None, kind: type) -> Callable[Concatenate[S, P], Plan[T]]: ...
    @overload
    def __get__(self, owner: S, kind: type) -> Call[P, T]: ...
    def __get__(
        self, owner: S | None, kind: type
    ) -> Call[P, T] | Callable[Concatenate[S, P], Plan[T]]:
        return self._plan if owner is None else Call(self._plan, owner)
