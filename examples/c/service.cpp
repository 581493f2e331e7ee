// An attached service in C++: what prefork.c does in C, as a loop that asks and records.
//
//   service ARENA [CALLS]     100 calls, half of which fail; prints what was decided
#include <nines.hpp>

#include <cstdio>
#include <cstdlib>

int main(int count, char **arguments)
{
  if (count < 2) return std::fprintf(stderr, "usage: service ARENA [CALLS]\n"), 2;
  try {
    ninespp::Arena arena(arguments[1]);
    nines_breaker_config config{};
    config.failures_in_a_row = 3;
    config.open_ns = 60000000000;
    auto gateway = arena.breaker("cpp_gateway", config);
    auto pay = arena.path("cpp_pay");
    auto flag = arena.flag("new_gateway");
    int calls = count > 2 ? std::atoi(arguments[2]) : 100, paid = 0, failed = 0, refused = 0;
    for (int i = 0; i < calls; i++) {
      try {
        paid += pay.track([&] {
          return gateway.call([&]() -> int {
            if (i >= calls / 2) throw std::runtime_error("the gateway failed");
            return flag ? 1 : 1;
          });
        });
      } catch (const ninespp::Refused &) {
        refused++;
      } catch (const std::runtime_error &) {
        failed++;
      }
    }
    std::printf("%d paid, %d failed, %d refused, breaker %d\n", paid, failed, refused, gateway.state());
  } catch (const ninespp::Error &error) {
    return std::fprintf(stderr, "%s\n", error.what()), 1;
  }
  return 0;
}
