// Keeps secrets out of nines.yaml, so that it can be committed, and out of every sentence that is printed about it.
//
// A file is opened without blocking and must be a regular one: a pipe or a terminal in its place is an error at
// start-up, not an engine that hangs.

#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"

enum { LINE_MAX_BYTES = 4096, NAME_MAX_BYTES = 200 };

static size_t name_size(const char *text)
{
  size_t size = 0;
  while ((text[size] >= 'a' && text[size] <= 'z') || (text[size] >= 'A' && text[size] <= 'Z') || text[size] == '_' ||
         (size > 0 && text[size] >= '0' && text[size] <= '9'))
    size++;
  return size;
}

// `at` is behind "${"; returns the place behind "}", or NULL.
static const char *put_variable(const char *at, struct buf *out, struct status *status)
{
  char name[NAME_MAX_BYTES + 1];
  size_t size = name_size(at);
  if (size == 0 || size > NAME_MAX_BYTES || at[size] != '}') {
    status_set(status, NINES_EINVAL,
               "\"${\" is not followed by a name and \"}\"; write ${NAME}, or $${ for a plain \"${\"");
    return NULL;
  }
  memcpy(name, at, size);
  name[size] = '\0';
  const char *value = getenv(name);
  if (!value || !value[0]) {
    status_set(status, NINES_EINVAL, "the environment variable %s is %s; set it where nines is started", name,
               value ? "empty" : "not set");
    return NULL;
  }
  buf_text(out, value);
  return at + size + 1;
}

int secret_expand_environment(struct pool *pool, const char *text, const char **out, struct status *status)
{
  struct buf expanded = { 0 };
  buf_text(&expanded, "");
  for (const char *at = text; at && *at;) {
    if (strncmp(at, "$${", 3) == 0) {
      buf_text(&expanded, "${");
      at += 3;
    } else if (strncmp(at, "${", 2) == 0) {
      at = put_variable(at + 2, &expanded, status);
      if (!at) {
        buf_free(&expanded);
        return NINES_EINVAL;
      }
    } else {
      buf_byte(&expanded, *at++);
    }
  }
  *out = expanded.failed ? NULL : pool_copy(pool, buf_view(&expanded));
  buf_free(&expanded);
  return *out ? 0 : status_set(status, NINES_ENOMEM, "out of memory");
}

static int read_file(struct pool *pool, const char *path, const char **out, struct status *status)
{
  char line[LINE_MAX_BYTES + 2];
  struct stat info;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (fd < 0) return status_set(status, NINES_EINVAL, "cannot read the file %s: %s", path, strerror(errno));
  bool regular = fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  size_t size = 0;
  ssize_t got = 0;
  while (regular && size < sizeof line && (got = read(fd, line + size, sizeof line - size)) > 0) size += (size_t)got;
  close(fd);
  if (!regular) return status_set(status, NINES_EINVAL, "%s is not a regular file", path);
  if (got < 0) return status_set(status, NINES_EINVAL, "cannot read the file %s", path);
  const char *end = memchr(line, '\n', size);
  if (end) size = (size_t)(end - line);
  if (size > 0 && line[size - 1] == '\r') size--;
  if (size == 0) return status_set(status, NINES_EINVAL, "the first line of the file %s is empty", path);
  if (size > LINE_MAX_BYTES || memchr(line, '\0', size))
    return status_set(status, NINES_EINVAL, "the first line of the file %s is no text of at most %d bytes", path,
                      LINE_MAX_BYTES);
  *out = pool_copy(pool, (struct view){ line, size });
  return *out ? 0 : status_set(status, NINES_ENOMEM, "out of memory");
}

int secret_expand(struct pool *pool, const char *text, const char *dir, const char **out, struct status *status)
{
  if (strncmp(text, "file:", 5) != 0) return secret_expand_environment(pool, text, out, status);
  struct buf path = { 0 };
  if (text[5] != '/' && dir[0]) buf_printf(&path, "%s/", dir);
  buf_text(&path, text + 5);
  int code = path.failed ? status_set(status, NINES_ENOMEM, "out of memory") : read_file(pool, path.data, out, status);
  buf_free(&path);
  return code;
}
