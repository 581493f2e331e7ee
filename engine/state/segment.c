// Names, headers and frames of segment files: everything that recorder and recording must agree on.
//
// Numbers are written byte by byte, little-endian, so that a recording can be carried to any machine.
#include "segment.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "mem.h"

static const char magic[8] = { 'N', 'I', 'N', 'E', 'S', 'R', 'E', 'C' };

char *segment_path(char out[static PATH_MAX], const char *dir, const char *prefix, uint64_t number)
{
  snprintf(out, PATH_MAX, "%s/%s-%08llu.rec", dir, prefix, (unsigned long long)number);
  return out;
}

// The number in "PREFIX-00000012.rec"; 0: another file.
static uint64_t number_of(const char *name, const char *prefix)
{
  size_t prefix_size = strlen(prefix);
  if (strncmp(name, prefix, prefix_size) != 0 || name[prefix_size] != '-') return 0;
  const char *digits = name + prefix_size + 1;
  size_t count = strspn(digits, "0123456789");
  if (count < 8 || count > 18 || strcmp(digits + count, ".rec") != 0) return 0;
  return strtoull(digits, NULL, 10);
}

static int by_number(const void *a, const void *b)
{
  uint64_t left = ((const struct segment *)a)->number, right = ((const struct segment *)b)->number;
  return left < right ? -1 : left > right;
}

int segment_list_read(struct segment_list *list, const char *dir, const char *prefix, struct status *status)
{
  DIR *stream = opendir(dir);
  if (!stream) return status_set(status, NINES_EIO, "cannot read the directory %s: %s", dir, strerror(errno));
  for (struct dirent *entry; (entry = readdir(stream));) {
    struct segment segment = { .number = number_of(entry->d_name, prefix) };
    if (segment.number == 0) continue;
    struct stat info;
    if (fstatat(dirfd(stream), entry->d_name, &info, 0) != 0) continue; // deleted meanwhile
    segment.bytes = (uint64_t)info.st_size;
    segment_list_add(list, segment);
  }
  closedir(stream);
  if (list->count > 1) qsort(list->items, list->count, sizeof(*list->items), by_number);
  return 0;
}

void segment_list_add(struct segment_list *list, struct segment segment)
{
  if (list->count == list->capacity) {
    list->capacity = list->capacity ? list->capacity * 2 : 16;
    list->items = mem_must_resize(list->items, list->capacity * sizeof(*list->items));
  }
  list->items[list->count++] = segment;
}

void segment_list_remove_first(struct segment_list *list)
{
  list->count--;
  memmove(list->items, list->items + 1, list->count * sizeof(*list->items));
}

void segment_list_free(struct segment_list *list)
{
  mem_free(list->items);
  *list = (struct segment_list){ 0 };
}

static void write_le(char *at, uint64_t value, int bytes)
{
  for (int i = 0; i < bytes; i++) at[i] = (char)(unsigned char)(value >> (8 * i));
}

uint32_t segment_read_u32(const char *at)
{
  uint32_t value = 0;
  for (int i = 0; i < 4; i++) value |= (uint32_t)(unsigned char)at[i] << (8 * i);
  return value;
}

uint32_t segment_crc(struct view kind_and_payload)
{
  return (uint32_t)crc32_z(0, (const unsigned char *)kind_and_payload.data, kind_and_payload.size);
}

void segment_header_write(char out[static SEGMENT_HEADER], uint64_t number, int64_t wall_ns)
{
  memcpy(out, magic, sizeof(magic));
  write_le(out + 8, SEGMENT_VERSION, 4);
  write_le(out + 12, number, 8);
  write_le(out + 20, (uint64_t)wall_ns, 8);
  write_le(out + 28, segment_crc((struct view){ out, 28 }), 4);
}

int segment_header_check(const char header[static SEGMENT_HEADER])
{
  if (memcmp(header, magic, sizeof(magic)) != 0) return NINES_ECORRUPT;
  if (segment_read_u32(header + 28) != segment_crc((struct view){ header, 28 })) return NINES_ECORRUPT;
  return segment_read_u32(header + 8) == SEGMENT_VERSION ? 0 : NINES_EVERSION;
}

void segment_frame_add(struct buf *out, uint8_t kind, struct view payload)
{
  buf_varint(out, payload.size);
  size_t start = out->size;
  buf_byte(out, (char)kind);
  buf_add(out, payload.data, payload.size);
  if (out->failed) return;
  char crc[SEGMENT_CRC];
  write_le(crc, segment_crc((struct view){ out->data + start, out->size - start }), SEGMENT_CRC);
  buf_add(out, crc, SEGMENT_CRC);
}
