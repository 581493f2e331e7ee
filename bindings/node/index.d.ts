// nines for Node. Durations are milliseconds; zero and what is left out mean the default in the comment.

export const SHEDDABLE: 0;
export const SHEDDABLE_PLUS: 1;
export const CRITICAL: 2;
export const CRITICAL_PLUS: 3;
export type Criticality = 0 | 1 | 2 | 3;

export type BreakerState = 'closed' | 'open' | 'half_open' | 'disabled' | 'forced_open' | 'metrics_only';
/** What an object answers when the engine is gone for too long: 'admit'. */
export type Lost = 'admit' | 'refuse';
/** Ends what `enter` began: how it went, true by default; null counts as never called. Only its first call counts. */
export type End = (ok?: boolean | null) => void;

export interface AttachOptions {
  /** 1000; attach and each new object wait so long for the engine; at least 50, in which it answers. Blocks. */
  wait?: number;
  /** 10000; without its engine an attached process goes on with the last decisions for so long. */
  keep?: number;
  /** false; attaches also when no engine runs there yet: it is looked for each second. */
  withoutEngine?: boolean;
}

export interface BreakerSettings {
  /** 10000; rates are over it. */
  window?: number;
  /** Above 0: the last so many calls (at most 512) instead of a time. */
  windowCalls?: number;
  /** 20; no rate is judged on fewer calls. */
  callsMin?: number;
  /** 50 percent; negative: never. */
  failureRate?: number;
  /** 100 percent of calls slower than `slow`; negative: never. */
  slowRate?: number;
  /** 60000. */
  slow?: number;
  /** 0: none; 0.99: opens while the window's p99 is over `latency`. */
  latencyQuantile?: number;
  /** The limit of latencyQuantile; or true: keep windowed latencies also without one. */
  latency?: number | boolean;
  /** 0: not looked at. */
  failuresInARow?: number;
  /** 60000 until probes are let through. */
  open?: number;
  /** 1; each opening in a row lasts so much longer. */
  openFactor?: number;
  /** 3600000. */
  openMax?: number;
  /** 0; 0.5: between half and one and a half of it. */
  openJitter?: number;
  /** true: becomes half-open without waiting for a call. */
  halfOpenItself?: boolean;
  /** 10 calls decide while half-open (at most 24). */
  probes?: number;
  /** 60000; a probe not done by then is given to another call. */
  probeLease?: number;
  /** 0: as long as it takes. */
  halfOpenMax?: number;
  /** 'open', after halfOpenMax. */
  halfOpenThen?: 'open' | 'closed';
  /** 0: all at once; else admits 10 % to 100 % over this time after closing. */
  ramp?: number;
  /** 'closed'. */
  initialState?: BreakerState;
  /** 0; else so many keyed breakers at most (1 to 4096). */
  keys?: number;
  lost?: Lost;
}

export interface LimiterSettings {
  /** So many in `per`; required when the limiter is new. */
  rate: number;
  /** 1000. */
  per?: number;
  /** As many as in `per`: what may come at once after a pause. */
  burst?: number;
  /** 0; up to so long a caller is asked to wait rather than refused. */
  waitMax?: number;
  /** 0; after a pause as long, starts at rate / coldFactor and grows to the rate. */
  warmUp?: number;
  /** 3. */
  coldFactor?: number;
  /** true: only one thread of one process ever asks. */
  owner?: boolean;
  lost?: Lost;
}

export interface BulkheadSettings {
  /** 25. */
  concurrentMax?: number;
  /** Of waiters inside the engine: queueMax 0, waitMax 100, codelTarget 5, codelInterval 100. */
  queueMax?: number;
  waitMax?: number;
  codelTarget?: number;
  codelInterval?: number;
  /** true: only one thread of one process ever enters and leaves. */
  owner?: boolean;
  lost?: Lost;
}

export interface AdaptiveLimitSettings {
  /** 20. */
  initial?: number;
  /** 5. */
  min?: number;
  /** 200. */
  max?: number;
  /** 1.5: latency may be so many times the baseline before the limit shrinks. */
  tolerance?: number;
  /** 0.2. */
  smoothing?: number;
  /** 4: how many more than needed it lets grow. */
  queue?: number;
  /** 0.9: factor for a window with more than one failure in ten. */
  backoff?: number;
  /** 0: none; above this p50 the limit always shrinks. */
  latencyMax?: number;
  /** 1000 between changes. */
  window?: number;
  /** 10 in a window, else nothing changes. */
  samplesMin?: number;
  lost?: Lost;
}

export interface ShedderSettings {
  /** 2: refuses by itself once requests exceed K times accepts; negative: never. */
  throttleK?: number;
  /** 120000. */
  throttleWindow?: number;
  /** 90 percent at most. */
  throttleMax?: number;
  /** 0: none; a second whose mean latency is over it sheds 5 % more, else 1 % less. */
  latencyTarget?: number;
  /** 60000. */
  retryAfter?: number;
  /** 0.5: between half and one and a half of it. */
  retryJitter?: number;
  lost?: Lost;
}

export interface RetrySettings {
  /** 3, the first included. */
  attempts?: number;
  /** 500 before the second attempt. */
  wait?: number;
  /** 2: each wait so many times the last. */
  factor?: number;
  /** 10000. */
  waitMax?: number;
  /** 0.5; 1: full; negative: none. */
  jitter?: number;
  /** 20 percent of calls may be retries, over budgetMs; negative: no budget. */
  budget?: number;
  /** 1 a second more, so that rare callers may retry at all. */
  budgetFloor?: number;
  /** 10000. */
  budgetMs?: number;
  /** 0: no hedging. */
  hedge?: number;
}

export interface TimeoutSettings {
  /** 1000. */
  limit?: number;
}

/** What nines refuses, in a sentence. */
export class NinesError extends Error {
  /** As in nines.h: 'NINES_ENOTFOUND'. */
  readonly code: string;
  readonly errno: number;
}
/** A protection said no. */
export class Refused extends Error {
  /** Milliseconds until asking again makes sense; Infinity: never. */
  readonly wait: number;
}
export class TimedOut extends Error {}
/** What a game-day has injected. */
export class Injected extends Error {
  readonly kind: 'error' | 'abort' | 'drop';
  readonly error: number;
}

interface Named {
  readonly name: string;
}
type Call = <A extends unknown[], R>(fn: (...args: A) => R, ...args: A) => R;

export interface Path extends Named {
  record(ok: boolean, ms?: number): void;
  /** For what ends elsewhere: measures until its result is called. */
  begin(): (ok: boolean) => void;
}
interface Guard extends Named {
  /** Runs fn and gives back what it does; throws Refused when it may not run. What throws or rejects is a failure, an
   * AbortError as if never called. */
  call: Call;
}
export interface Breaker extends Guard {
  readonly state: BreakerState;
  enter(key?: string): End;
  /** By the breaker of one tenant or host; needs the setting keys. */
  callKey<A extends unknown[], R>(key: string, fn: (...args: A) => R, ...args: A): R;
}
export interface Bulkhead extends Guard {
  readonly inside: number;
  enter(): End;
}
export interface AdaptiveLimit extends Guard {
  readonly limit: number;
  enter(): End;
}
export interface Shedder extends Guard {
  /** CRITICAL by default. */
  enter(criticality?: Criticality): End;
  callAt<A extends unknown[], R>(criticality: Criticality, fn: (...args: A) => R, ...args: A): R;
  /** How full what is behind is, 0 to 1. */
  load(fullness: number): void;
}
export interface Limiter extends Named {
  /** Milliseconds to wait before going on, 0 mostly; throws Refused. */
  ask(cost?: number): number;
}
export interface Retry extends Named {
  /** Again after failures, within attempts and budget; not after Refused or an AbortError. */
  call<A extends unknown[], R>(fn: (...args: A) => R, ...args: A): Promise<Awaited<R>>;
}
export interface Timeout extends Named {
  /** Milliseconds that a call may take, never more than its own caller still waits. */
  left(callerLeft?: number): number;
  /** Rejects with TimedOut when the time is over, and aborts the signal. */
  call<A extends unknown[], R>(fn: (signal: AbortSignal, ...args: A) => R, ...args: A): Promise<Awaited<R>>;
}
export interface Flag extends Named {
  readonly on: boolean;
}
export interface Fault extends Named {
  /** Mostly nothing; else throws Injected, or returns what to wait for. */
  strike(key?: string | null): Promise<void> | undefined;
}
export interface Counter extends Named {
  add(n?: number): void;
  readonly total: number;
}
export interface Histogram extends Named {
  record(ms: number): void;
  /** Milliseconds, as of the engine's last beat; undefined without data. */
  quantile(q: number): number | undefined;
}

type Function_ = (...args: any[]) => any;
type Handler = (request: any, response: any, ...rest: any[]) => any;
interface Wrap<Fn extends Function_> {
  <F extends Fn>(path: string, fn: F): F;
  (path: string): <F extends Fn>(fn: F) => F;
}

interface Verbs {
  path(name: string): Path;
  /** fn wrapped: each call is an observation of the path, when it returns, throws, or its promise settles. */
  track: Wrap<Function_>;
  /** A request handler wrapped: the observation ends with the response, good when all of it was sent with a status
   * below 500. */
  handler: Wrap<Handler>;
  breaker(name: string, settings?: BreakerSettings): Breaker;
  limiter(name: string, settings?: LimiterSettings): Limiter;
  bulkhead(name: string, settings?: BulkheadSettings): Bulkhead;
  adaptiveLimit(name: string, settings?: AdaptiveLimitSettings): AdaptiveLimit;
  shedder(name: string, settings?: ShedderSettings): Shedder;
  retry(name: string, settings?: RetrySettings): Retry;
  timeout(name: string, settings?: TimeoutSettings): Timeout;
  /** otherwise: while nobody has declared it, or without an engine; false. */
  flag(name: string, otherwise?: boolean): Flag;
  fault(name: string): Fault;
  counter(name: string): Counter;
  /** window: 60000. */
  histogram(name: string, window?: number): Histogram;
}

export class Arena {
  /** where: the file "arena" in the engine's data directory. Throws NinesError. */
  constructor(where: string, options?: AttachOptions);
  /** 'there', 'gone' (its last decisions hold) or 'lost' (objects answer by `lost`, flags by `otherwise`). */
  readonly engine: 'there' | 'gone' | 'lost';
  /** Looks for the engine now; it is looked for each second anyhow. */
  look(): Arena['engine'];
  /** Every object got from it throws afterwards. A process that ends need not close. */
  close(): void;
}
export interface Arena extends Verbs {}

/** Attaches this process; what it returns is what the functions below use. where: $NINES_ARENA. */
export function attach(where?: string, options?: AttachOptions): Arena;
export const path: Verbs['path'];
export const track: Verbs['track'];
export const handler: Verbs['handler'];
export const breaker: Verbs['breaker'];
export const limiter: Verbs['limiter'];
export const bulkhead: Verbs['bulkhead'];
export const adaptiveLimit: Verbs['adaptiveLimit'];
export const shedder: Verbs['shedder'];
export const retry: Verbs['retry'];
export const timeout: Verbs['timeout'];
export const flag: Verbs['flag'];
export const fault: Verbs['fault'];
export const counter: Verbs['counter'];
export const histogram: Verbs['histogram'];
