// nines for C++17: nines.h with owners, scopes and exceptions. (The namespace is ninespp: nines is a type of nines.h.)
//
//   ninespp::Arena arena("/var/lib/shop/nines-data/arena");
//   auto gateway = arena.breaker("gateway", { .failure_rate = 50 });
//   gateway.call([&] { return call_the_gateway(); });           // throws ninespp::Refused while it is open
//
// Errors throw ninespp::Error with the sentence, from constructors and getters alone; asking and recording are noexcept
// and cost what they cost in C. Handles are small, copied freely, and live as long as their arena. A Scope gives its
// permit back when it ends: as a failure when it is left by an exception, as a success otherwise, or as it was told.
#ifndef NINES_HPP
#define NINES_HPP

#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>

#include "nines.h"

namespace ninespp
{

class Error : public std::runtime_error
{
public:
  Error(int code, const std::string &sentence) : std::runtime_error(sentence), code_(code) {}
  int code() const noexcept { return code_; } // NINES_E*

private:
  int code_;
};

class Refused : public std::runtime_error
{
public:
  explicit Refused(int64_t again_ns) : std::runtime_error("refused"), again_ns_(again_ns) {}
  int64_t again_ns() const noexcept { return again_ns_; } // when asking again makes sense

private:
  int64_t again_ns_;
};

inline int64_t now() noexcept
{
  return nines_now_ns();
}

// A config of nines.h with its size set: ninespp::with<nines_breaker_config>([](auto &c) { c.keys = 16; }).
template <class Config, class Fill> Config with(Fill fill)
{
  Config config{};
  config.size = sizeof config;
  fill(config);
  return config;
}

// A permit, and how it is given back.
template <class Handle> class Scope
{
public:
  Scope(Handle handle, nines_permit permit) noexcept
      : handle_(handle), permit_(permit), unwinding_(std::uncaught_exceptions())
  {
  }
  Scope(Scope &&other) noexcept
      : handle_(other.handle_), permit_(other.permit_), unwinding_(other.unwinding_), outcome_(other.outcome_)
  {
    other.permit_.token = 0;
  }
  Scope(const Scope &) = delete;
  Scope &operator=(const Scope &) = delete;
  Scope &operator=(Scope &&) = delete;
  ~Scope()
  {
    if (!granted()) return;
    bool failed = std::uncaught_exceptions() > unwinding_;
    handle_.done(permit_, outcome_ >= 0 ? outcome_ : failed ? NINES_FAILURE : NINES_SUCCESS);
  }
  bool granted() const noexcept { return permit_.token != 0; }
  explicit operator bool() const noexcept { return granted(); }
  void failed() noexcept { outcome_ = NINES_FAILURE; }
  void ignored() noexcept { outcome_ = NINES_IGNORED; }
  int64_t again_ns() const noexcept { return permit_.at_ns; } // of a refused one

private:
  Handle handle_;
  nines_permit permit_;
  int unwinding_;
  int outcome_ = -1; // as the end of the scope tells
};

// What breakers, bulkheads, adaptive limits and shedders have in common.
template <class Self> class Guard
{
public:
  // An entered scope; check it: `if (auto scope = gateway.enter()) ...`
  Scope<Self> enter() const noexcept { return { self(), self().ask(now()) }; }
  // fn() under the protection; throws Refused.
  template <class Function> auto call(Function &&function) const
  {
    Scope<Self> scope = enter();
    if (!scope) throw Refused(scope.again_ns());
    return std::forward<Function>(function)();
  }

private:
  const Self &self() const noexcept { return static_cast<const Self &>(*this); }
};

class Breaker : public Guard<Breaker>
{
public:
  explicit Breaker(nines_breaker *handle) noexcept : handle_(handle) {}
  nines_permit ask(int64_t now_ns) const noexcept { return nines_breaker_ask(handle_, now_ns); }
  void done(nines_permit permit, int outcome) const noexcept { nines_breaker_done(handle_, permit, outcome, now()); }
  Scope<Breaker> enter_key(const std::string &key) const noexcept // of one tenant or host; needs `keys`
  {
    return { *this, nines_breaker_ask_key(handle_, key.data(), key.size(), now()) };
  }
  int state() const noexcept { return nines_breaker_state(handle_); }
  nines_breaker *get() const noexcept { return handle_; }

private:
  nines_breaker *handle_;
};

class Bulkhead : public Guard<Bulkhead>
{
public:
  explicit Bulkhead(nines_bulkhead *handle) noexcept : handle_(handle) {}
  nines_permit ask(int64_t now_ns) const noexcept { return nines_bulkhead_enter(handle_, now_ns); }
  void done(nines_permit permit, int) const noexcept { nines_bulkhead_leave(handle_, permit, now()); }
  uint32_t inside() const noexcept { return nines_bulkhead_inside(handle_); }
  nines_bulkhead *get() const noexcept { return handle_; }

private:
  nines_bulkhead *handle_;
};

class AdaptiveLimit : public Guard<AdaptiveLimit>
{
public:
  explicit AdaptiveLimit(nines_adaptive_limit *handle) noexcept : handle_(handle) {}
  nines_permit ask(int64_t now_ns) const noexcept { return nines_adaptive_limit_ask(handle_, now_ns); }
  void done(nines_permit permit, int outcome) const noexcept
  {
    nines_adaptive_limit_done(handle_, permit, outcome, now());
  }
  uint32_t limit() const noexcept { return nines_adaptive_limit_now(handle_); }
  nines_adaptive_limit *get() const noexcept { return handle_; }

private:
  nines_adaptive_limit *handle_;
};

class Shedder : public Guard<Shedder>
{
public:
  explicit Shedder(nines_shedder *handle, int criticality = NINES_CRITICAL) noexcept
      : handle_(handle), criticality_(criticality)
  {
  }
  Shedder at(int criticality) const noexcept { return Shedder(handle_, criticality); }
  nines_permit ask(int64_t now_ns) const noexcept { return nines_shedder_ask(handle_, criticality_, now_ns); }
  void done(nines_permit permit, int outcome) const noexcept { nines_shedder_done(handle_, permit, outcome, now()); }
  void load(double fullness) const noexcept { nines_shedder_load(handle_, fullness); }
  nines_shedder *get() const noexcept { return handle_; }

private:
  nines_shedder *handle_;
  int criticality_;
};

class Limiter
{
public:
  explicit Limiter(nines_limiter *handle) noexcept : handle_(handle) {}
  // At least 0: granted, after waiting so many ns; negative: refused, as nines_limiter_ask.
  int64_t ask(double cost = 1) const noexcept { return nines_limiter_ask(handle_, cost, now()); }
  nines_limiter *get() const noexcept { return handle_; }

private:
  nines_limiter *handle_;
};

class Path
{
public:
  explicit Path(nines_path *handle) noexcept : handle_(handle) {}
  void record(bool ok, int64_t duration_ns = -1) const noexcept { nines_path_record(handle_, ok, duration_ns); }
  // fn(), recorded with how long it took; an exception is a failure, and goes on.
  template <class Function> auto track(Function &&function) const
  {
    struct Record {
      const Path &path;
      int64_t begun_ns = now();
      int unwinding = std::uncaught_exceptions();
      ~Record() { path.record(std::uncaught_exceptions() == unwinding, now() - begun_ns); }
    } record{ *this };
    return std::forward<Function>(function)();
  }
  nines_path *get() const noexcept { return handle_; }

private:
  nines_path *handle_;
};

class Flag
{
public:
  explicit Flag(nines_flag *handle) noexcept : handle_(handle) {}
  explicit operator bool() const noexcept { return nines_flag_on(handle_, now()) != 0; }

private:
  nines_flag *handle_;
};

class Fault
{
public:
  explicit Fault(nines_fault *handle) noexcept : handle_(handle) {}
  nines_fault_action ask(const char *key = nullptr) const noexcept { return nines_fault_ask(handle_, key, now()); }

private:
  nines_fault *handle_;
};

class Counter
{
public:
  explicit Counter(nines_counter *handle) noexcept : handle_(handle) {}
  void add(uint64_t n = 1) const noexcept { nines_counter_add(handle_, n, now()); }
  uint64_t total() const noexcept { return nines_counter_total(handle_); }

private:
  nines_counter *handle_;
};

class Histogram
{
public:
  explicit Histogram(nines_histogram *handle) noexcept : handle_(handle) {}
  void record(int64_t duration_ns) const noexcept { nines_histogram_record(handle_, duration_ns); }
  int64_t read(double quantile) const noexcept { return nines_histogram_read(handle_, quantile); } // -1: no data

private:
  nines_histogram *handle_;
};

class Arena
{
public:
  explicit Arena(const std::string &path, const nines_attach_config *config = nullptr)
  {
    char error[512] = "";
    int code = nines_attach(&arena_, path.c_str(), config, error, sizeof error);
    if (code < 0) throw Error(code, error);
  }
  // The arena of an engine in this process, or any other: not closed here.
  explicit Arena(nines_arena *arena) noexcept : arena_(arena), owned_(false) {}
  Arena(Arena &&other) noexcept : arena_(std::exchange(other.arena_, nullptr)), owned_(other.owned_) {}
  Arena(const Arena &) = delete;
  Arena &operator=(const Arena &) = delete;
  Arena &operator=(Arena &&) = delete;
  ~Arena()
  {
    if (owned_) nines_arena_close(arena_);
  }
  int engine() const noexcept { return nines_arena_engine(arena_, now()); } // NINES_ENGINE_*
  void look() { nines_arena_fold(arena_, now()); }
  nines_arena *get() const noexcept { return arena_; }

  Path path(const char *name) { return Path(make<nines_path>(nines_arena_path, name)); }
  Flag flag(const char *name, bool otherwise = false)
  {
    nines_flag *flag = nullptr;
    check(nines_flag_get(arena_, name, otherwise, &flag));
    return Flag(flag);
  }
  Fault fault(const char *name) { return Fault(make<nines_fault>(nines_fault_get, name)); }
  Counter counter(const char *name) { return Counter(make<nines_counter>(nines_counter_get, name)); }
  Histogram histogram(const char *name, int64_t window_ns = 0)
  {
    nines_histogram *histogram = nullptr;
    check(nines_histogram_get(arena_, name, window_ns, &histogram));
    return Histogram(histogram);
  }
  // The configs are those of nines.h; their size is set here.
  Breaker breaker(const char *name) { return Breaker(make(nines_breaker_get, name, nullptr)); }
  Breaker breaker(const char *name, nines_breaker_config config)
  {
    return Breaker(make(nines_breaker_get, name, sized(config)));
  }
  Limiter limiter(const char *name) { return Limiter(make(nines_limiter_get, name, nullptr)); }
  Limiter limiter(const char *name, nines_limiter_config config)
  {
    return Limiter(make(nines_limiter_get, name, sized(config)));
  }
  Bulkhead bulkhead(const char *name) { return Bulkhead(make(nines_bulkhead_get, name, nullptr)); }
  Bulkhead bulkhead(const char *name, nines_bulkhead_config config)
  {
    return Bulkhead(make(nines_bulkhead_get, name, sized(config)));
  }
  AdaptiveLimit adaptive_limit(const char *name)
  {
    return AdaptiveLimit(make(nines_adaptive_limit_get, name, nullptr));
  }
  AdaptiveLimit adaptive_limit(const char *name, nines_adaptive_limit_config config)
  {
    return AdaptiveLimit(make(nines_adaptive_limit_get, name, sized(config)));
  }
  Shedder shedder(const char *name) { return Shedder(make(nines_shedder_get, name, nullptr)); }
  Shedder shedder(const char *name, nines_shedder_config config)
  {
    return Shedder(make(nines_shedder_get, name, sized(config)));
  }

private:
  void check(int code) const
  {
    if (code < 0) throw Error(code, nines_arena_errmsg(arena_));
  }
  template <class Config> static const Config *sized(Config &config) noexcept
  {
    config.size = sizeof config;
    return &config;
  }
  template <class Object> Object *make(int (*getter)(nines_arena *, const char *, Object **), const char *name)
  {
    Object *object = nullptr;
    check(getter(arena_, name, &object));
    return object;
  }
  template <class Config, class Object>
  Object *make(int (*getter)(nines_arena *, const char *, const Config *, Object **), const char *name,
               const Config *config)
  {
    Object *object = nullptr;
    check(getter(arena_, name, config, &object));
    return object;
  }
  template <class Config, class Object>
  Object *make(int (*getter)(nines_arena *, const char *, const Config *, Object **), const char *name, std::nullptr_t)
  {
    return make(getter, name, static_cast<const Config *>(nullptr));
  }

  nines_arena *arena_ = nullptr;
  bool owned_ = true;
};

} // namespace ninespp

#endif
