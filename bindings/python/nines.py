"""nines for Python: breakers, limiters, flags and measurements in shared memory, without a socket.

    import nines
    nines.attach("/var/lib/shop/data/arena")

    @nines.track("payment_processing")
    def pay(order): ...

    gateway = nines.breaker("gateway", failure_rate=50)
    with gateway:                      # raises nines.Refused while it is open
        call_the_gateway()

One file, the standard library and libnines-core only. Settings have the names of nines.h, with seconds instead of
nanoseconds: open_ns=60000000000 there is open=60 here. Exceptions count as failures. Everything may be used from any
thread, from asyncio tasks, and after os.fork() (gunicorn, uWSGI): what was got before the fork works in each worker.
"""
from __future__ import annotations

import contextvars
import ctypes
import functools
import inspect
import os
import threading
import time
from typing import Any, Callable, Optional, TypeVar

__all__ = [
    "attach", "Arena", "Error", "Refused", "track", "path", "breaker", "limiter", "bulkhead", "adaptive_limit", "shedder",
    "retry", "timeout", "flag", "fault", "counter", "histogram",
    "SHEDDABLE", "SHEDDABLE_PLUS", "CRITICAL", "CRITICAL_PLUS", "ADMIT", "REFUSE",
]

SHEDDABLE, SHEDDABLE_PLUS, CRITICAL, CRITICAL_PLUS = range(4)
ADMIT, REFUSE = 0, 1  # `lost`: what an object answers when the engine is gone for too long
_SUCCESS, _FAILURE, _IGNORED = range(3)
_STATES = ("closed", "open", "half_open", "disabled", "forced_open", "metrics_only")
_ENGINE = ("there", "gone", "lost")
F = TypeVar("F", bound=Callable[..., Any])


class Error(Exception):
    """What nines refuses, in a sentence; `code` is a NINES_E* of nines.h."""

    def __init__(self, code: int, sentence: str):
        super().__init__(sentence)
        self.code = code


class Refused(Exception):
    """A protection said no. `wait`: seconds until asking again makes sense, None: never."""

    def __init__(self, sentence: str, wait: Optional[float]):
        super().__init__(sentence)
        self.wait = wait


class _Permit(ctypes.Structure):
    _fields_ = [("at_ns", ctypes.c_int64), ("token", ctypes.c_uint64)]


class _FaultAction(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int), ("error", ctypes.c_int), ("latency_ns", ctypes.c_int64)]


def _config(name: str, fields: str) -> type:
    kinds = {"n": ctypes.c_int64, "u": ctypes.c_uint32, "d": ctypes.c_double, "i": ctypes.c_int}
    parts = [field.split(":") for field in fields.split()]
    members = [("size", ctypes.c_size_t)] + [(member, kinds[kind]) for member, kind in parts]
    return type(name, (ctypes.Structure,), {"_fields_": members})


# In the order of nines.h; a test compares sizes and offsets with the header's.
_CONFIGS = {
    "attach": _config("attach_config", "wait_ns:n keep_ns:n without_engine:i"),
    "breaker": _config(
        "breaker_config",
        "window_ns:n window_calls:u calls_min:u failure_rate:d slow_rate:d slow_ns:n latency_quantile:d latency_ns:n "
        "failures_in_a_row:u open_ns:n open_factor:d open_max_ns:n open_jitter:d half_open_itself:i probes:u "
        "probe_lease_ns:n half_open_max_ns:n half_open_then:i ramp_ns:n initial_state:i latency:i keys:u lost:i"),
    "limiter": _config("limiter_config", "rate:d per_ns:n burst:d wait_max_ns:n warm_up_ns:n cold_factor:d owner:i lost:i"),
    "bulkhead": _config("bulkhead_config", "concurrent_max:u queue_max:u wait_max_ns:n codel_target_ns:n "
                        "codel_interval_ns:n owner:i lost:i"),
    "adaptive_limit": _config("adaptive_limit_config", "initial:u min:u max:u tolerance:d smoothing:d queue:u backoff:d "
                              "latency_max_ns:n window_ns:n samples_min:u lost:i"),
    "shedder": _config("shedder_config", "throttle_k:d throttle_window_ns:n throttle_max:d latency_target_ns:n "
                       "retry_after_ns:n retry_jitter:d lost:i"),
    "retry": _config("retry_config", "attempts:u wait_ns:n factor:d wait_max_ns:n jitter:d budget:d budget_floor:d "
                     "budget_ns:n hedge_ns:n"),
    "timeout": _config("timeout_config", "limit_ns:n"),
}

_P, _N, _I, _D, _S = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int, ctypes.c_double, ctypes.c_char_p
_FUNCTIONS = {
    "attach": (_I, [ctypes.POINTER(_P), _S, _P, _P, ctypes.c_size_t]),
    "arena_close": (None, [_P]),
    "arena_fold": (None, [_P, _N]),
    "arena_engine": (_I, [_P, _N]),
    "arena_errmsg": (_S, [_P]),
    "arena_path": (_I, [_P, _S, ctypes.POINTER(_P)]),
    "path_record": (None, [_P, _I, _N]),
    "breaker_get": (_I, [_P, _S, _P, ctypes.POINTER(_P)]),
    "breaker_ask": (_Permit, [_P, _N]),
    "breaker_ask_key": (_Permit, [_P, _S, ctypes.c_size_t, _N]),
    "breaker_done": (None, [_P, _Permit, _I, _N]),
    "breaker_state": (_I, [_P]),
    "limiter_get": (_I, [_P, _S, _P, ctypes.POINTER(_P)]),
    "limiter_ask": (_N, [_P, _D, _N]),
    "bulkhead_get": (_I, [_P, _S, _P, ctypes.POINTER(_P)]),
    "bulkhead_enter": (_Permit, [_P, _N]),
    "bulkhead_leave": (None, [_P, _Permit, _N]),
    "bulkhead_inside": (ctypes.c_uint32, [_P]),
    "adaptive_limit_get": (_I, [_P, _S, _P, ctypes.POINTER(_P)]),
    "adaptive_limit_ask": (_Permit, [_P, _N]),
    "adaptive_limit_done": (None, [_P, _Permit, _I, _N]),
    "adaptive_limit_now": (ctypes.c_uint32, [_P]),
    "shedder_get": (_I, [_P, _S, _P, ctypes.POINTER(_P)]),
    "shedder_ask": (_Permit, [_P, _I, _N]),
    "shedder_done": (None, [_P, _Permit, _I, _N]),
    "shedder_load": (None, [_P, _D]),
    "retry_get": (_I, [_P, _S, _P, ctypes.POINTER(_P)]),
    "retry_call": (None, [_P, _N]),
    "retry_next": (_N, [_P, ctypes.c_uint32, _N]),
    "timeout_get": (_I, [_P, _S, _P, ctypes.POINTER(_P)]),
    "timeout_deadline": (_N, [_P, _N, _N]),
    "timeout_done": (None, [_P, _I]),
    "flag_get": (_I, [_P, _S, _I, ctypes.POINTER(_P)]),
    "flag_on": (_I, [_P, _N]),
    "fault_get": (_I, [_P, _S, ctypes.POINTER(_P)]),
    "fault_ask": (_FaultAction, [_P, _S, _N]),
    "counter_get": (_I, [_P, _S, ctypes.POINTER(_P)]),
    "counter_add": (None, [_P, ctypes.c_uint64, _N]),
    "counter_total": (ctypes.c_uint64, [_P]),
    "histogram_get": (_I, [_P, _S, _N, ctypes.POINTER(_P)]),
    "histogram_record": (None, [_P, _N]),
    "histogram_read": (_N, [_P, _D]),
}


class _Library:
    """libnines-core, loaded at the first attach: $NINES_LIBRARY, beside this file, or where the system finds it."""

    def __init__(self) -> None:
        here = os.path.dirname(os.path.abspath(__file__))
        names = [os.environ.get("NINES_LIBRARY"), os.path.join(here, "libnines-core.so"), "libnines-core.so.0",
                 "libnines-core.so"]
        library = None
        for name in filter(None, names):
            try:
                library = ctypes.CDLL(name)
                break
            except OSError:
                continue
        if library is None:
            raise Error(-4, "libnines-core.so is not found: install nines, or set NINES_LIBRARY to its path")
        for name, (result, arguments) in _FUNCTIONS.items():
            function = getattr(library, "nines_" + name)
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)


_lib: Any = None
_default: Optional["Arena"] = None
_lock = threading.Lock()
_now = time.monotonic_ns


def _settings(kind: str, given: dict) -> Any:
    """A config of nines.h; durations in seconds under the name without _ns."""
    if not given:
        return None
    config = _CONFIGS[kind](size=ctypes.sizeof(_CONFIGS[kind]))
    fields = dict(config._fields_)
    for name, value in given.items():
        # latency=True keeps them, latency=0.5 is a rule; budget=20 is a share, budget_seconds=10 its window.
        if name.endswith("_seconds") and name[:-8] + "_ns" in fields:
            name, value = name[:-8] + "_ns", round(value * 1e9)
        elif name + "_ns" in fields and (name not in fields or (name == "latency" and not isinstance(value, bool))):
            name, value = name + "_ns", round(value * 1e9)
        if name not in fields or name == "size":
            known = sorted({field[:-3] if field.endswith("_ns") else field for field in fields if field != "size"})
            raise TypeError(f"{kind}: unknown setting {name!r} (known: {', '.join(known)})")
        try:
            setattr(config, name, value)
        except TypeError:
            raise TypeError(f"{kind}: {name} is {value!r}, which is not {fields[name].__name__[2:]}") from None
    return config


class Arena:
    """An attached arena. `engine` is "there", "gone" (its last decisions hold) or "lost" (objects answer by `lost`)."""

    def __init__(self, where: str, wait: float = 1.0, keep: float = 10.0, without_engine: bool = False):
        global _lib
        with _lock:
            _lib = _lib or _Library()
        config = _CONFIGS["attach"](size=ctypes.sizeof(_CONFIGS["attach"]), wait_ns=round(wait * 1e9) or -1,
                                    keep_ns=round(keep * 1e9), without_engine=int(without_engine))
        self._arena = _P()
        error = ctypes.create_string_buffer(512)
        code = _lib.attach(ctypes.byref(self._arena), os.fsencode(where), ctypes.byref(config), error, len(error))
        if code < 0:
            raise Error(code, error.value.decode())
        self._objects: dict = {}
        self._lock = threading.Lock()

    def close(self) -> None:
        """Every object got from it is dead afterwards. A process that ends need not close."""
        _lib.arena_close(self._arena)
        self._arena = None

    @property
    def engine(self) -> str:
        return _ENGINE[_lib.arena_engine(self._arena, _now())]

    def look(self) -> str:
        """Looks for an engine that was not there; for who attached without one, each second or so."""
        with self._lock:
            _lib.arena_fold(self._arena, _now())
        return self.engine

    def _get(self, kind: str, make: type, name: str, *arguments: Any, settings: Any = None) -> Any:
        with self._lock:
            known = self._objects.get((kind, name))
            if known is not None and settings is None:
                return known
            handle = _P()
            code = getattr(_lib, kind + "_get" if kind != "path" else "arena_path")(
                self._arena, name.encode(), *arguments, ctypes.byref(handle))
            if code < 0:
                raise Error(code, _lib.arena_errmsg(self._arena).decode())
            known = known or make(name, handle)
            self._objects[kind, name] = known
            return known

    def _protection(self, kind: str, make: type, name: str, given: dict) -> Any:
        settings = _settings(kind, given)
        return self._get(kind, make, name, ctypes.byref(settings) if settings else None, settings=settings)

    def path(self, name: str) -> "Path":
        return self._get("path", Path, name)

    def track(self, name: str) -> Callable[[F], F]:
        return _track(lambda: self.path(name))

    def breaker(self, name: str, **settings: Any) -> "Breaker":
        return self._protection("breaker", Breaker, name, settings)

    def limiter(self, name: str, **settings: Any) -> "Limiter":
        return self._protection("limiter", Limiter, name, settings)

    def bulkhead(self, name: str, **settings: Any) -> "Bulkhead":
        return self._protection("bulkhead", Bulkhead, name, settings)

    def adaptive_limit(self, name: str, **settings: Any) -> "AdaptiveLimit":
        return self._protection("adaptive_limit", AdaptiveLimit, name, settings)

    def shedder(self, name: str, **settings: Any) -> "Shedder":
        return self._protection("shedder", Shedder, name, settings)

    def retry(self, name: str, **settings: Any) -> "Retry":
        return self._protection("retry", Retry, name, settings)

    def timeout(self, name: str, **settings: Any) -> "Timeout":
        return self._protection("timeout", Timeout, name, settings)

    def flag(self, name: str, otherwise: bool = False) -> "Flag":
        """`otherwise`: while nobody has declared it, or without an engine."""
        return self._get("flag", Flag, name, int(otherwise))

    def fault(self, name: str) -> "Fault":
        return self._get("fault", Fault, name)

    def counter(self, name: str) -> "Counter":
        return self._get("counter", Counter, name)

    def histogram(self, name: str, window: float = 60.0) -> "Histogram":
        return self._get("histogram", Histogram, name, round(window * 1e9))


class _Object:
    def __init__(self, name: str, handle: ctypes.c_void_p):
        self.name = name
        self._handle = handle

    def __repr__(self) -> str:
        return f"<nines.{type(self).__name__} {self.name!r}>"


class Path(_Object):
    """A critical path of the engine."""

    def record(self, ok: bool, seconds: Optional[float] = None) -> None:
        _lib.path_record(self._handle, bool(ok), -1 if seconds is None else round(seconds * 1e9))


def _track(path: Callable[[], Path]) -> Callable[[F], F]:
    """Records each call: how long it took, and whether it raised. The path is got at the first call."""

    def decorate(function: F) -> F:
        if inspect.iscoroutinefunction(function):
            @functools.wraps(function)
            async def tracked_task(*args: Any, **kwargs: Any) -> Any:
                handle, begun_ns, ok = path()._handle, _now(), 0
                try:
                    result = await function(*args, **kwargs)
                    ok = 1
                    return result
                finally:
                    _lib.path_record(handle, ok, _now() - begun_ns)
            return tracked_task  # type: ignore[return-value]

        @functools.wraps(function)
        def tracked(*args: Any, **kwargs: Any) -> Any:
            handle, begun_ns, ok = path()._handle, _now(), 0
            try:
                result = function(*args, **kwargs)
                ok = 1
                return result
            finally:
                _lib.path_record(handle, ok, _now() - begun_ns)
        return tracked  # type: ignore[return-value]

    return decorate


class _Guard(_Object):
    """`with guard:` or `guard.call(fn, ...)`. Permits are kept by task and thread, so that blocks may nest and mix."""

    def __init__(self, name: str, handle: ctypes.c_void_p):
        super().__init__(name, handle)
        self._held: contextvars.ContextVar = contextvars.ContextVar("nines.held", default=())

    def _ask(self, now_ns: int) -> _Permit:
        raise NotImplementedError

    def _done(self, permit: _Permit, outcome: int, now_ns: int) -> None:
        raise NotImplementedError

    def _refusal(self) -> str:
        raise NotImplementedError

    def _enter(self, permit: _Permit, now_ns: int) -> "_Guard":
        if not permit.token:
            raise Refused(f'{type(self).__name__.lower()} "{self.name}" {self._refusal()}',
                          max(0, permit.at_ns - now_ns) / 1e9)
        self._held.set(self._held.get() + (permit,))
        return self

    def __enter__(self) -> "_Guard":
        now_ns = _now()
        return self._enter(self._ask(now_ns), now_ns)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        held = self._held.get()
        self._held.set(held[:-1])
        outcome = _SUCCESS if kind is None else _FAILURE if issubclass(kind, Exception) else _IGNORED
        self._done(held[-1], outcome, _now())

    async def __aenter__(self) -> "_Guard":
        return self.__enter__()

    async def __aexit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.__exit__(kind, error, trace)

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with self:
            return function(*args, **kwargs)


class Breaker(_Guard):
    """Stops calling what fails. A cancelled task or KeyboardInterrupt counts as if never called."""

    def _ask(self, now_ns: int) -> _Permit:
        return _lib.breaker_ask(self._handle, now_ns)

    def _done(self, permit: _Permit, outcome: int, now_ns: int) -> None:
        _lib.breaker_done(self._handle, permit, outcome, now_ns)

    def _refusal(self) -> str:
        return f"is {self.state}"

    def key(self, key: str) -> "_Keyed":
        """The breaker of one tenant or host: `with gateway.key(tenant):`; needs the setting `keys`."""
        return _Keyed(self, key.encode())

    @property
    def state(self) -> str:
        return _STATES[_lib.breaker_state(self._handle)]


class _Keyed:
    def __init__(self, breaker: Breaker, key: bytes):
        self._breaker, self._key = breaker, key

    def __enter__(self) -> Breaker:
        now_ns = _now()
        permit = _lib.breaker_ask_key(self._breaker._handle, self._key, len(self._key), now_ns)
        self._breaker._enter(permit, now_ns)
        return self._breaker

    def __exit__(self, *end: Any) -> None:
        self._breaker.__exit__(*end)


class Bulkhead(_Guard):
    """So many at once."""

    def _ask(self, now_ns: int) -> _Permit:
        return _lib.bulkhead_enter(self._handle, now_ns)

    def _done(self, permit: _Permit, outcome: int, now_ns: int) -> None:
        _lib.bulkhead_leave(self._handle, permit, now_ns)

    def _refusal(self) -> str:
        return "is full"

    @property
    def inside(self) -> int:
        return _lib.bulkhead_inside(self._handle)


class AdaptiveLimit(_Guard):
    """A bulkhead that finds its own size."""

    def _ask(self, now_ns: int) -> _Permit:
        return _lib.adaptive_limit_ask(self._handle, now_ns)

    def _done(self, permit: _Permit, outcome: int, now_ns: int) -> None:
        _lib.adaptive_limit_done(self._handle, permit, outcome, now_ns)

    def _refusal(self) -> str:
        return "is full"

    @property
    def limit(self) -> int:
        return _lib.adaptive_limit_now(self._handle)


class Shedder(_Guard):
    """Refuses the least important first: `with door.at(nines.SHEDDABLE):`; plain `with door:` is CRITICAL."""

    def _ask(self, now_ns: int) -> _Permit:
        return _lib.shedder_ask(self._handle, CRITICAL, now_ns)

    def _done(self, permit: _Permit, outcome: int, now_ns: int) -> None:
        _lib.shedder_done(self._handle, permit, outcome, now_ns)

    def _refusal(self) -> str:
        return "sheds this call"

    def at(self, criticality: int) -> "_Shed":
        return _Shed(self, criticality)

    def load(self, fullness: float) -> None:
        """How full what is behind is, 0 to 1."""
        _lib.shedder_load(self._handle, fullness)


class _Shed:
    def __init__(self, shedder: Shedder, criticality: int):
        self._shedder, self._criticality = shedder, criticality

    def __enter__(self) -> Shedder:
        now_ns = _now()
        self._shedder._enter(_lib.shedder_ask(self._shedder._handle, self._criticality, now_ns), now_ns)
        return self._shedder

    def __exit__(self, *end: Any) -> None:
        self._shedder.__exit__(*end)


class Limiter(_Object):
    """So many a second."""

    def ask(self, cost: float = 1.0) -> float:
        """Seconds to wait before going on, 0 mostly; raises Refused."""
        wait_ns = _lib.limiter_ask(self._handle, cost, _now())
        if wait_ns >= 0:
            return wait_ns / 1e9
        never = wait_ns == -(1 << 63)
        raise Refused(f'limiter "{self.name}" has no more for now', None if never else -wait_ns / 1e9)


class Retry(_Object):
    """Tries again within attempts and budget. Refusals are not tried again: they are an answer."""

    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        _lib.retry_call(self._handle, _now())
        attempt = 1
        while True:
            try:
                return function(*args, **kwargs)
            except Refused:
                raise
            except Exception:
                wait_ns = _lib.retry_next(self._handle, attempt, _now())
                if wait_ns < 0:
                    raise
            time.sleep(wait_ns / 1e9)
            attempt += 1


class Timeout(_Object):
    """How long a call may take: `requests.get(url, timeout=t.left())`."""

    def left(self, caller_deadline: Optional[float] = None) -> float:
        """Seconds; `caller_deadline`: time.monotonic() at which the caller gives up."""
        now_ns = _now()
        caller_ns = 0 if caller_deadline is None else round(caller_deadline * 1e9)
        return max(0, _lib.timeout_deadline(self._handle, caller_ns, now_ns) - now_ns) / 1e9

    def timed_out(self) -> None:
        _lib.timeout_done(self._handle, 1)


class Flag(_Object):
    """What a policy or a person has switched on: `if flag:`."""

    def __bool__(self) -> bool:
        return bool(_lib.flag_on(self._handle, _now()))


class Fault(_Object):
    """A place where a game-day may break things: `fault.strike()` waits, raises, or does nothing."""

    def strike(self, key: Optional[str] = None) -> None:
        action = _lib.fault_ask(self._handle, key.encode() if key else None, _now())
        if action.kind == 1:
            time.sleep(action.latency_ns / 1e9)
        elif action.kind:
            raise RuntimeError(f'fault "{self.name}" injected (error {action.error})')


class Counter(_Object):
    def add(self, n: int = 1) -> None:
        _lib.counter_add(self._handle, n, _now())

    @property
    def total(self) -> int:
        return _lib.counter_total(self._handle)


class Histogram(_Object):
    def record(self, seconds: float) -> None:
        _lib.histogram_record(self._handle, round(seconds * 1e9))

    def quantile(self, q: float) -> Optional[float]:
        """Seconds, as of the engine's last beat; None without data."""
        ns = _lib.histogram_read(self._handle, q)
        return None if ns < 0 else ns / 1e9


def attach(where: Optional[str] = None, **options: Any) -> Arena:
    """Attaches this process, and makes the arena the one that nines.breaker(...) and the others use.

    `where`: the file "arena" in the engine's data directory; default: $NINES_ARENA."""
    global _default
    where = where or os.environ.get("NINES_ARENA")
    if not where:
        raise Error(-2, "nines.attach needs the path of an arena, or NINES_ARENA in the environment")
    _default = Arena(where, **options)
    return _default


def _arena() -> Arena:
    if _default is None:
        attach()
    assert _default is not None
    return _default


def track(name: str) -> Callable[[F], F]:
    """Decorates a function, sync or async: each call is an observation of this critical path."""
    return _track(lambda: _arena().path(name))


def path(name: str) -> Path:
    return _arena().path(name)


def breaker(name: str, **settings: Any) -> Breaker:
    return _arena().breaker(name, **settings)


def limiter(name: str, **settings: Any) -> Limiter:
    return _arena().limiter(name, **settings)


def bulkhead(name: str, **settings: Any) -> Bulkhead:
    return _arena().bulkhead(name, **settings)


def adaptive_limit(name: str, **settings: Any) -> AdaptiveLimit:
    return _arena().adaptive_limit(name, **settings)


def shedder(name: str, **settings: Any) -> Shedder:
    return _arena().shedder(name, **settings)


def retry(name: str, **settings: Any) -> Retry:
    return _arena().retry(name, **settings)


def timeout(name: str, **settings: Any) -> Timeout:
    return _arena().timeout(name, **settings)


def flag(name: str, otherwise: bool = False) -> Flag:
    return _arena().flag(name, otherwise)


def fault(name: str) -> Fault:
    return _arena().fault(name)


def counter(name: str) -> Counter:
    return _arena().counter(name)


def histogram(name: str, window: float = 60.0) -> Histogram:
    return _arena().histogram(name, window)
