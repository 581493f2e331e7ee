// libyaml's own yaml.h, which ours hides: the next one in the search path after this directory. Include it as
// <libyaml.h>; in quotes it would be found beside its includer, and "next" would begin with ours.
#ifndef NINES_IO_LIBYAML_H
#define NINES_IO_LIBYAML_H

#include_next <yaml.h>

#endif
