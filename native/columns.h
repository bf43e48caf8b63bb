// Records of librdkafka <-> the columns of src/base/record-columns.ts. No N-API in here, and no lock: whoever calls owns the columns.
#pragma once
#include <cstdint>
#include <cstring>
#include <rdkafka.h>

namespace harrier {

// The arrays of a RecordColumns, as they lie in memory. Lengths of -1 mean null.
struct Columns {
  uint8_t *topic;
  int32_t *partition;
  double *offset, *timestamp;
  int32_t *keyAt, *keyBytes, *valueAt, *valueBytes, *headersAt, *headersBytes;
  size_t rows;
  uint8_t *arena;
  size_t arenaBytes;
};

// As in RecordColumns.appendHeader: a name's length in 2 bytes, a value's in 4, both big-endian.
constexpr size_t headerPrefixBytes = 6, headerNameBytesMax = 0xffff;
// Values begin at a multiple of this, so that state is read from them in words.
constexpr size_t valueAlignment = 8;

inline void put16(uint8_t *to, uint32_t value) { to[0] = uint8_t(value >> 8), to[1] = uint8_t(value); }
inline void put32(uint8_t *to, uint32_t value) { put16(to, value >> 16), put16(to + 2, value); }
inline uint32_t get16(const uint8_t *from) { return uint32_t(from[0]) << 8 | from[1]; }
inline uint32_t get32(const uint8_t *from) { return get16(from) << 16 | get16(from + 2); }

struct Header {
  const char *name;
  const void *value;
  size_t nameBytes, valueBytes;
};

inline bool headerAt(const rd_kafka_headers_t *headers, size_t index, Header &header) {
  if (rd_kafka_header_get_all(headers, index, &header.name, &header.value, &header.valueBytes)) return false;
  header.nameBytes = strlen(header.name);
  if (header.nameBytes > headerNameBytesMax) header.nameBytes = headerNameBytesMax;
  return true;
}

// What appendRecord takes of the arena at most.
inline size_t bytesOf(const rd_kafka_message_t *message, const rd_kafka_headers_t *headers) {
  size_t bytes = message->len + message->key_len + valueAlignment;
  Header header;
  for (size_t i = 0; headers && headerAt(headers, i, header); i++) bytes += headerPrefixBytes + header.nameBytes + header.valueBytes;
  return bytes;
}

// Copies a record into a row: key, value, headers. The caller has made sure of bytesOf bytes behind `used`.
inline void appendRecord(const Columns &into, size_t row, size_t &used, uint8_t topic, const rd_kafka_message_t *message, const rd_kafka_headers_t *headers) {
  into.topic[row] = topic;
  into.partition[row] = message->partition;
  into.offset[row] = double(message->offset);
  rd_kafka_timestamp_type_t type;
  into.timestamp[row] = double(rd_kafka_message_timestamp(message, &type));
  into.keyAt[row] = int32_t(used);
  into.keyBytes[row] = message->key ? int32_t(message->key_len) : -1;
  if (message->key) memcpy(into.arena + used, message->key, message->key_len), used += message->key_len;
  if (message->payload) used = (used + valueAlignment - 1) & ~(valueAlignment - 1);
  into.valueAt[row] = int32_t(used);
  into.valueBytes[row] = message->payload ? int32_t(message->len) : -1;
  if (message->payload) memcpy(into.arena + used, message->payload, message->len), used += message->len;
  const size_t headersAt = used;
  Header header;
  for (size_t i = 0; headers && headerAt(headers, i, header); i++) {
    uint8_t *to = into.arena + used;
    put16(to, uint32_t(header.nameBytes));
    put32(to + 2, header.value ? uint32_t(header.valueBytes) : UINT32_MAX);
    memcpy(to + headerPrefixBytes, header.name, header.nameBytes);
    if (header.value) memcpy(to + headerPrefixBytes + header.nameBytes, header.value, header.valueBytes);
    used += headerPrefixBytes + header.nameBytes + (header.value ? header.valueBytes : 0);
  }
  into.headersAt[row] = int32_t(headersAt);
  into.headersBytes[row] = int32_t(used - headersAt);
}

// Whether [at, at + bytes) lies in the arena; a null (-1) lies anywhere.
inline bool isWithin(const Columns &columns, int32_t at, int32_t bytes) {
  return bytes == -1 || (bytes >= 0 && at >= 0 && size_t(at) + size_t(bytes) <= columns.arenaBytes);
}

// The packed headers of a row, to be destroyed by the caller; null when there are none. False: they are damaged.
inline bool unpackHeaders(const Columns &from, size_t row, rd_kafka_headers_t *&headers) {
  headers = nullptr;
  const int32_t bytes = from.headersBytes[row];
  if (bytes == 0) return true;
  if (bytes < 0 || !isWithin(from, from.headersAt[row], bytes)) return false;
  const uint8_t *at = from.arena + from.headersAt[row], *end = at + bytes;
  headers = rd_kafka_headers_new(4);
  while (size_t(end - at) >= headerPrefixBytes) {
    const size_t nameBytes = get16(at);
    const int32_t valueBytes = int32_t(get32(at + 2));
    const size_t valueLength = valueBytes < 0 ? 0 : size_t(valueBytes);
    at += headerPrefixBytes;
    if (valueBytes < -1 || nameBytes + valueLength > size_t(end - at)) break;
    const void *value = valueBytes < 0 ? nullptr : at + nameBytes;
    rd_kafka_header_add(headers, reinterpret_cast<const char *>(at), ssize_t(nameBytes), value, ssize_t(valueLength));
    at += nameBytes + valueLength;
  }
  if (at == end) return true;
  rd_kafka_headers_destroy(headers);
  headers = nullptr;
  return false;
}

// Queues a row for delivery, copied. Returns its error, or null.
inline rd_kafka_error_t *produceRow(rd_kafka_t *rk, rd_kafka_topic_t *topic, const Columns &from, size_t row) {
  rd_kafka_headers_t *headers;
  const bool isWhole = isWithin(from, from.keyAt[row], from.keyBytes[row]) && isWithin(from, from.valueAt[row], from.valueBytes[row]) && unpackHeaders(from, row, headers);
  if (!isWhole) return rd_kafka_error_new(RD_KAFKA_RESP_ERR__INVALID_ARG, "row %zu does not lie in its arena", row);
  rd_kafka_vu_t parts[7];
  parts[0].vtype = RD_KAFKA_VTYPE_RKT, parts[0].u.rkt = topic;
  parts[1].vtype = RD_KAFKA_VTYPE_PARTITION, parts[1].u.i32 = from.partition[row];
  parts[2].vtype = RD_KAFKA_VTYPE_MSGFLAGS, parts[2].u.i = RD_KAFKA_MSG_F_COPY;
  parts[3].vtype = RD_KAFKA_VTYPE_TIMESTAMP, parts[3].u.i64 = int64_t(from.timestamp[row]);
  size_t count = 4;
  auto bytes = [&](rd_kafka_vtype_t type, int32_t at, int32_t length) {
    if (length < 0) return;
    parts[count].vtype = type, parts[count].u.mem.ptr = from.arena + at, parts[count++].u.mem.size = size_t(length);
  };
  bytes(RD_KAFKA_VTYPE_KEY, from.keyAt[row], from.keyBytes[row]);
  bytes(RD_KAFKA_VTYPE_VALUE, from.valueAt[row], from.valueBytes[row]);
  if (headers) parts[count].vtype = RD_KAFKA_VTYPE_HEADERS, parts[count++].u.headers = headers;
  rd_kafka_error_t *error = rd_kafka_produceva(rk, parts, count);
  if (error && headers) rd_kafka_headers_destroy(headers);
  return error;
}

}  // namespace harrier
