// The client as a class of JavaScript: src/consumer/native-binding.ts says what each method takes and gives. A call that may block returns
// a promise and runs in a thread of its own; the others return at once. Arguments are checked here, so that no call of JavaScript reads
// or writes outside an array; arrays that were given to a call must not be used, transferred or resized until its promise is settled.
#define NAPI_VERSION 8
#include <node_api.h>
#include "client.h"

using namespace harrier;

namespace {

struct Handle;

// What waits for the thread of JavaScript.
struct Delivery {
  std::function<void(napi_env, napi_value onEvent)> run;
};

// A client with its way back to JavaScript, which keeps the process alive until `close`. Calls hold it, so that it outlives them.
struct Handle : std::enable_shared_from_this<Handle> {
  Client client;
  std::mutex mutex;
  std::condition_variable settled;
  napi_threadsafe_function toJs = nullptr;
  bool isJsGone = false;
  size_t running = 0;  // calls in threads; guarded by `mutex`

  void deliver(std::function<void(napi_env, napi_value)> run) {
    auto delivery = std::make_unique<Delivery>(Delivery{std::move(run)});
    std::lock_guard<std::mutex> lock(mutex);
    if (isJsGone) return;
    if (napi_call_threadsafe_function(toJs, delivery.get(), napi_tsfn_nonblocking) == napi_ok) delivery.release();
    else isJsGone = true;
  }

  // A call in a thread; `close` waits until it is back.
  void enter() {
    std::lock_guard<std::mutex> lock(mutex);
    running++;
  }

  void leave() {
    std::lock_guard<std::mutex> lock(mutex);
    running--;
    settled.notify_all();
  }

  // With its thread of JavaScript gone, a client tells nothing any more.
  static void onJsGone(void *handle) {
    std::lock_guard<std::mutex> lock(static_cast<Handle *>(handle)->mutex);
    static_cast<Handle *>(handle)->isJsGone = true;
  }

  // After the answer of `close`, from JavaScript's thread: nobody tells anything any more.
  void letGo(napi_env env) {
    napi_remove_env_cleanup_hook(env, onJsGone, this);
    onJsGone(this);
    napi_release_threadsafe_function(toJs, napi_tsfn_release);
  }
};

using Shared = std::shared_ptr<Handle>;
constexpr napi_type_tag clientTag = {0x8f3b1c2a77de4e01, 0xa4c95d10b6e2f338};

// ---- values -------------------------------------------------------------------------------------------------------------------

struct Thrown {};  // a JavaScript exception is pending

[[noreturn]] void refuse(napi_env env, const std::string &why) {
  bool isPending = false;
  napi_is_exception_pending(env, &isPending);
  if (!isPending) napi_throw_type_error(env, nullptr, why.c_str());
  throw Thrown{};
}

void check(napi_env env, napi_status status, const char *what) {
  if (status != napi_ok) refuse(env, what);
}

napi_value number(napi_env env, double value) {
  napi_value made = nullptr;
  napi_create_double(env, value, &made);
  return made;
}

napi_value text(napi_env env, const std::string &value) {
  napi_value made = nullptr;
  napi_create_string_utf8(env, value.c_str(), value.size(), &made);
  return made;
}

napi_value boolean(napi_env env, bool value) {
  napi_value made = nullptr;
  napi_get_boolean(env, value, &made);
  return made;
}

napi_value undefined(napi_env env) {
  napi_value made = nullptr;
  napi_get_undefined(env, &made);
  return made;
}

napi_value array(napi_env env, const std::vector<napi_value> &values) {
  napi_value made = nullptr;
  napi_create_array_with_length(env, values.size(), &made);
  for (size_t i = 0; i < values.size(); i++) napi_set_element(env, made, uint32_t(i), values[i]);
  return made;
}

napi_value failureObject(napi_env env, const Failure &failure) {
  napi_value error = nullptr;
  napi_create_error(env, nullptr, text(env, failure.message), &error);
  napi_set_named_property(env, error, "code", number(env, failure.code));
  napi_set_named_property(env, error, "isFatal", boolean(env, failure.isFatal));
  napi_set_named_property(env, error, "isRetriable", boolean(env, failure.isRetriable));
  napi_set_named_property(env, error, "isTxnRequiresAbort", boolean(env, failure.needsAbort));
  return error;
}

// [topic, partition, offset, error, topic, ...]
napi_value listValue(napi_env env, const rd_kafka_topic_partition_list_t *list) {
  std::vector<napi_value> values;
  for (int i = 0; list && i < list->cnt; i++) {
    const auto &entry = list->elems[i];
    values.insert(values.end(), {text(env, entry.topic), number(env, entry.partition), number(env, double(entry.offset)), number(env, entry.err)});
  }
  return array(env, values);
}

int64_t integerOf(napi_env env, napi_value value, const char *what, int64_t low, int64_t high) {
  double given = 0;
  check(env, napi_get_value_double(env, value, &given), what);
  if (!(given >= double(low) && given <= double(high)) || given != double(int64_t(given))) refuse(env, what);
  return int64_t(given);
}

int timeoutOf(napi_env env, napi_value value) { return int(integerOf(env, value, "a time-out is a whole number of ms, at least 0", 0, INT32_MAX)); }

std::string textOf(napi_env env, napi_value value, const char *what) {
  size_t bytes = 0;
  check(env, napi_get_value_string_utf8(env, value, nullptr, 0, &bytes), what);
  std::string made(bytes, '\0');
  check(env, napi_get_value_string_utf8(env, value, made.data(), bytes + 1, &bytes), what);
  return made;
}

std::vector<napi_value> valuesOf(napi_env env, napi_value value, const char *what, uint32_t lengthMax = 1 << 20) {
  bool isArray = false;
  uint32_t length = 0;
  if (napi_is_array(env, value, &isArray) != napi_ok || !isArray) refuse(env, what);
  check(env, napi_get_array_length(env, value, &length), what);
  if (length > lengthMax) refuse(env, what);
  std::vector<napi_value> values(length);
  for (uint32_t i = 0; i < length; i++) check(env, napi_get_element(env, value, i, &values[i]), what);
  return values;
}

std::vector<std::string> textsOf(napi_env env, napi_value value, const char *what, uint32_t lengthMax = Client::topicsMax) {
  std::vector<std::string> texts;
  for (napi_value each : valuesOf(env, value, what, lengthMax)) texts.push_back(textOf(env, each, what));
  return texts;
}

// From [topic, partition, offset, topic, ...]
PartitionList listOf(napi_env env, napi_value value) {
  const char *what = "partitions are an array of topic, partition, offset, topic, partition, offset, ...";
  const auto values = valuesOf(env, value, what);
  if (values.size() % 3 != 0) refuse(env, what);
  auto list = ownedList(rd_kafka_topic_partition_list_new(int(values.size() / 3)));
  for (size_t i = 0; i < values.size(); i += 3) {
    auto *entry = rd_kafka_topic_partition_list_add(list.get(), textOf(env, values[i], what).c_str(), int32_t(integerOf(env, values[i + 1], what, 0, INT32_MAX)));
    entry->offset = integerOf(env, values[i + 2], what, RD_KAFKA_OFFSET_INVALID, int64_t(1) << 53);
  }
  return list;
}

template <typename T>
T *elementsOf(napi_env env, napi_value value, napi_typedarray_type wanted, size_t lengthMin, size_t *length = nullptr) {
  bool isTyped = false;
  napi_typedarray_type type;
  size_t count = 0;
  void *data = nullptr;
  if (napi_is_typedarray(env, value, &isTyped) != napi_ok || !isTyped) refuse(env, "a column is a typed array");
  check(env, napi_get_typedarray_info(env, value, &type, &count, &data, nullptr, nullptr), "a column is a typed array");
  if (type != wanted || count < lengthMin || (count > 0 && data == nullptr)) refuse(env, "a column has the wrong type, or is too short");
  if (length) *length = count;
  return static_cast<T *>(data);
}

// [topic, partition, offset, timestamp, keyAt, keyBytes, valueAt, valueBytes, headersAt, headersBytes, arena], each of at least `rows`.
Columns columnsOf(napi_env env, napi_value value, size_t rows) {
  const auto values = valuesOf(env, value, "columns are an array of 11 typed arrays", 11);
  if (values.size() != 11) refuse(env, "columns are an array of 11 typed arrays");
  Columns columns;
  const auto words = [&](int i) { return elementsOf<int32_t>(env, values[i], napi_int32_array, rows); };
  columns.topic = elementsOf<uint8_t>(env, values[0], napi_uint8_array, rows);
  columns.partition = words(1);
  columns.offset = elementsOf<double>(env, values[2], napi_float64_array, rows);
  columns.timestamp = elementsOf<double>(env, values[3], napi_float64_array, rows);
  columns.keyAt = words(4), columns.keyBytes = words(5), columns.valueAt = words(6), columns.valueBytes = words(7), columns.headersAt = words(8), columns.headersBytes = words(9);
  columns.arena = elementsOf<uint8_t>(env, values[10], napi_uint8_array, 0, &columns.arenaBytes);
  if (columns.arenaBytes > INT32_MAX) refuse(env, "an arena has less than 2 GiB");
  columns.rows = rows;
  return columns;
}

// ---- calls --------------------------------------------------------------------------------------------------------------------

struct Arguments {
  napi_env env;
  Shared handle;
  std::vector<napi_value> at;
  Client &client() const { return handle->client; }
};

using Method = napi_value (*)(Arguments &);

template <Method method, size_t count>
napi_value call(napi_env env, napi_callback_info info) {
  try {
    Arguments arguments{env, nullptr, std::vector<napi_value>(count)};
    size_t given = count;
    napi_value self;
    Shared *shared = nullptr;
    check(env, napi_get_cb_info(env, info, &given, arguments.at.data(), &self, nullptr), "arguments");
    if (given < count) refuse(env, "too few arguments");
    check(env, napi_unwrap(env, self, reinterpret_cast<void **>(&shared)), "not a client");
    arguments.handle = *shared;
    return method(arguments);
  } catch (const Thrown &) {
    return nullptr;
  }
}

// What a call gives back, made in JavaScript's thread.
using Answer = std::function<napi_value(napi_env)>;

// Runs `work` in a thread, and settles the promise that is returned. `kept` stays alive until then.
napi_value promise(Arguments &arguments, napi_value kept, std::function<Failure(Client &, Answer &)> work, bool closes = false) {
  napi_env env = arguments.env;
  Shared handle = arguments.handle;
  napi_deferred deferred;
  napi_value made;
  napi_ref keeper = nullptr;
  check(env, napi_create_promise(env, &deferred, &made), "promise");
  if (handle->client.closing) {
    napi_reject_deferred(env, deferred, failureObject(env, {RD_KAFKA_RESP_ERR__DESTROY, "the client is closed"}));
    return made;
  }
  if (kept) napi_create_reference(env, kept, 1, &keeper);
  if (closes) handle->client.closing = true;
  handle->enter();
  handle->client.threads->run([handle, deferred, keeper, closes, work = std::move(work)] {
    Answer answer = undefined;
    if (closes) {
      std::unique_lock<std::mutex> lock(handle->mutex);
      handle->settled.wait(lock, [&] { return handle->running == 1; });
    }
    Failure failure = work(handle->client, answer);
    handle->deliver([handle, deferred, keeper, closes, failure = std::move(failure), answer = std::move(answer)](napi_env env, napi_value) {
      if (keeper) napi_delete_reference(env, keeper);
      if (failure.code) napi_reject_deferred(env, deferred, failureObject(env, failure));
      else napi_resolve_deferred(env, deferred, answer(env));
      if (closes) handle->letGo(env);
    });
    handle->leave();
  });
  return made;
}

// A call that is over at once: throws its failure.
napi_value done(napi_env env, const Failure &failure) {
  if (failure.code) {
    napi_throw(env, failureObject(env, failure));
    throw Thrown{};
  }
  return undefined(env);
}

// Calls that return at once; of a closed client they do nothing.

template <typename Run>
napi_value now(Arguments &arguments, Run run) {
  if (arguments.client().closing) return undefined(arguments.env);
  return done(arguments.env, run(arguments.client()));
}

// subscribe(topics)
napi_value subscribe(Arguments &arguments) {
  auto list = ownedList(rd_kafka_topic_partition_list_new(1));
  for (const auto &topic : textsOf(arguments.env, arguments.at[0], "topics are an array of names")) rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
  return now(arguments, [&](Client &client) { return Failure::of(rd_kafka_subscribe(client.rk, list.get())); });
}

// unsubscribe(): leaves the group, a static member too.
napi_value unsubscribe(Arguments &arguments) {
  return now(arguments, [](Client &client) { return Failure::of(rd_kafka_unsubscribe(client.rk)); });
}

// setTopics(topics): between polls.
napi_value setTopics(Arguments &arguments) {
  arguments.client().topics = textsOf(arguments.env, arguments.at[0], "topics are an array of at most 256 names");
  arguments.client().topicsGeneration++;
  return undefined(arguments.env);
}

// assign(partitions)
napi_value assign(Arguments &arguments) {
  auto list = listOf(arguments.env, arguments.at[0]);
  return now(arguments, [&](Client &client) { return Failure::of(rd_kafka_assign(client.rk, list->cnt > 0 ? list.get() : nullptr)); });
}

// incrementalAssign(partitions)
napi_value incrementalAssign(Arguments &arguments) {
  auto list = listOf(arguments.env, arguments.at[0]);
  return now(arguments, [&](Client &client) { return client.incrementalAssign(list.get()); });
}

// incrementalUnassign(partitions)
napi_value incrementalUnassign(Arguments &arguments) {
  auto list = listOf(arguments.env, arguments.at[0]);
  return now(arguments, [&](Client &client) { return client.incrementalUnassign(list.get()); });
}

// pause(partitions)
napi_value pausePartitions(Arguments &arguments) {
  auto list = listOf(arguments.env, arguments.at[0]);
  return now(arguments, [&](Client &client) { return Failure::of(rd_kafka_pause_partitions(client.rk, list.get())); });
}

// resume(partitions)
napi_value resumePartitions(Arguments &arguments) {
  auto list = listOf(arguments.env, arguments.at[0]);
  return now(arguments, [&](Client &client) { return Failure::of(rd_kafka_resume_partitions(client.rk, list.get())); });
}

// seekSoon(partitions): a time-out of 0 waits for nothing, and a seek and a resume of one partition are taken in turn.
napi_value seekSoon(Arguments &arguments) {
  auto list = listOf(arguments.env, arguments.at[0]);
  return now(arguments, [&](Client &client) { return Failure::of(rd_kafka_seek_partitions(client.rk, list.get(), 0)); });
}

// setToken(token, expiryMs)
napi_value setToken(Arguments &arguments) {
  const auto token = textOf(arguments.env, arguments.at[0], "a token is text");
  const auto expiryMs = integerOf(arguments.env, arguments.at[1], "an expiry is ms since 1970", 0, int64_t(1) << 53);
  char reason[512];
  return now(arguments, [&](Client &client) { return Failure{int(rd_kafka_oauthbearer_set_token(client.rk, token.c_str(), expiryMs, "", nullptr, 0, reason, sizeof reason)), reason}; });
}

// addBrokers(list): where brokers are looked for, once more; nothing is waited for.
napi_value addBrokers(Arguments &arguments) {
  const auto list = textOf(arguments.env, arguments.at[0], "brokers are a list of host:port");
  return now(arguments, [&](Client &client) { return rd_kafka_brokers_add(client.rk, list.c_str()), Failure{}; });
}

// knownEnd(topic, partition): the end as the last fetch told it, or -1001.
napi_value knownEnd(Arguments &arguments) {
  const auto topic = textOf(arguments.env, arguments.at[0], "a topic is a name");
  const auto partition = integerOf(arguments.env, arguments.at[1], "a partition is a number", 0, INT32_MAX);
  int64_t low = 0, high = RD_KAFKA_OFFSET_INVALID;
  if (!arguments.client().closing && rd_kafka_get_watermark_offsets(arguments.client().rk, topic.c_str(), int32_t(partition), &low, &high)) high = RD_KAFKA_OFFSET_INVALID;
  return number(arguments.env, double(high));
}

// interrupt(): ends the wait of the poll under way.
napi_value interrupt(Arguments &arguments) {
  return now(arguments, [](Client &client) { return client.interrupt(), Failure{}; });
}

// Calls that block.

// poll(columns, rows, row, used, room, delayMs, fillMs) -> [rows, used, needed, code, message, topic, partition, offset, code, ...]
napi_value poll(Arguments &arguments) {
  napi_env env = arguments.env;
  const auto &at = arguments.at;
  const size_t rows = size_t(integerOf(env, at[1], "rows", 0, INT32_MAX));
  const Columns columns = columnsOf(env, at[0], rows);
  const size_t row = size_t(integerOf(env, at[2], "a first row lies in the columns", 0, int64_t(rows)));
  const size_t used = size_t(integerOf(env, at[3], "what is used lies in the arena", 0, int64_t(columns.arenaBytes)));
  const size_t room = size_t(integerOf(env, at[4], "room is for at least one row, and within the columns", 1, int64_t(rows - row)));
  const int delayMs = timeoutOf(env, at[5]), fillMs = timeoutOf(env, at[6]);
  if (!arguments.client().isConsumer) refuse(env, "a consumer polls");
  return promise(arguments, at[0], [=](Client &client, Answer &answer) {
    auto result = std::make_shared<PollResult>(client.poll(columns, row, used, room, delayMs, fillMs));
    answer = [result](napi_env env) {
      std::vector<napi_value> values = {number(env, double(result->rows)), number(env, double(result->used)), number(env, double(result->needed))};
      for (const auto &remark : result->remarks)
        values.insert(values.end(), {number(env, remark.code), text(env, remark.message), text(env, remark.topic), number(env, remark.partition), number(env, double(remark.offset))});
      return array(env, values);
    };
    return Failure{};
  });
}

// seek(partitions, timeoutMs)
napi_value seek(Arguments &arguments) {
  auto list = std::shared_ptr<rd_kafka_topic_partition_list_t>(listOf(arguments.env, arguments.at[0]));
  const int timeoutMs = timeoutOf(arguments.env, arguments.at[1]);
  return promise(arguments, nullptr, [=](Client &client, Answer &) {
    Failure failure = Failure::of(rd_kafka_seek_partitions(client.rk, list.get(), timeoutMs));
    for (int i = 0; !failure.code && i < list->cnt; i++) failure = Failure::of(list->elems[i].err);
    return failure;
  });
}

// committed(partitions, timeoutMs) -> [topic, partition, offset, error, ...]
napi_value committed(Arguments &arguments) {
  auto list = std::shared_ptr<rd_kafka_topic_partition_list_t>(listOf(arguments.env, arguments.at[0]));
  const int timeoutMs = timeoutOf(arguments.env, arguments.at[1]);
  return promise(arguments, nullptr, [=](Client &client, Answer &answer) {
    answer = [list](napi_env env) { return listValue(env, list.get()); };
    return Failure::of(rd_kafka_committed(client.rk, list.get(), timeoutMs));
  });
}

// watermarks(topic, partition, timeoutMs) -> [low, high]
napi_value watermarks(Arguments &arguments) {
  const auto topic = textOf(arguments.env, arguments.at[0], "a topic is a name");
  const auto partition = int32_t(integerOf(arguments.env, arguments.at[1], "a partition is a number", 0, INT32_MAX));
  const int timeoutMs = timeoutOf(arguments.env, arguments.at[2]);
  return promise(arguments, nullptr, [=](Client &client, Answer &answer) {
    int64_t low = 0, high = 0;
    const auto code = rd_kafka_query_watermark_offsets(client.rk, topic.c_str(), partition, &low, &high, timeoutMs);
    answer = [=](napi_env env) { return array(env, {number(env, double(low)), number(env, double(high))}); };
    return Failure::of(code);
  });
}

// partitionCount(topic, timeoutMs) -> as the brokers say now; '' asks only for an answer.
napi_value partitionCount(Arguments &arguments) {
  const auto topic = textOf(arguments.env, arguments.at[0], "a topic is a name");
  const int timeoutMs = timeoutOf(arguments.env, arguments.at[1]);
  return promise(arguments, nullptr, [=](Client &client, Answer &answer) {
    rd_kafka_topic_t *handle = topic.empty() ? nullptr : rd_kafka_topic_new(client.rk, topic.c_str(), nullptr);
    const rd_kafka_metadata_t *metadata = nullptr;
    const auto code = rd_kafka_metadata(client.rk, 0, handle, &metadata, timeoutMs);
    const bool isTold = !code && handle && metadata->topic_cnt > 0;
    const int count = isTold ? metadata->topics[0].partition_cnt : 0;
    const auto refused = isTold && count == 0 ? metadata->topics[0].err : code;
    if (metadata) rd_kafka_metadata_destroy(metadata);
    if (handle) rd_kafka_topic_destroy(handle);
    answer = [count](napi_env env) { return number(env, count); };
    return Failure::of(refused);
  });
}

// partitionCounts(timeoutMs) -> [topic, partitions, topic, ...] of all topics that we may see.
napi_value partitionCounts(Arguments &arguments) {
  const int timeoutMs = timeoutOf(arguments.env, arguments.at[0]);
  return promise(arguments, nullptr, [=](Client &client, Answer &answer) {
    std::vector<std::pair<std::string, int>> counts;
    const rd_kafka_metadata_t *metadata = nullptr;
    const auto code = rd_kafka_metadata(client.rk, 1, nullptr, &metadata, timeoutMs);
    for (int i = 0; !code && i < metadata->topic_cnt; i++) counts.emplace_back(metadata->topics[i].topic, metadata->topics[i].partition_cnt);
    if (metadata) rd_kafka_metadata_destroy(metadata);
    answer = [counts = std::move(counts)](napi_env env) {
      std::vector<napi_value> values;
      for (const auto &[topic, partitions] : counts) values.insert(values.end(), {text(env, topic), number(env, partitions)});
      return array(env, values);
    };
    return Failure::of(code);
  });
}

template <rd_kafka_error_t *(*transact)(rd_kafka_t *, int)>
napi_value transactional(Arguments &arguments) {
  const int timeoutMs = timeoutOf(arguments.env, arguments.at[0]);
  return promise(arguments, nullptr, [timeoutMs](Client &client, Answer &) { return Failure::of(transact(client.rk, timeoutMs)); });
}

// begin()
napi_value begin(Arguments &arguments) {
  return promise(arguments, nullptr, [](Client &client, Answer &) { return Failure::of(rd_kafka_begin_transaction(client.rk)); });
}

// flush(timeoutMs)
napi_value flush(Arguments &arguments) {
  const int timeoutMs = timeoutOf(arguments.env, arguments.at[0]);
  return promise(arguments, nullptr, [timeoutMs](Client &client, Answer &) { return Failure::of(rd_kafka_flush(client.rk, timeoutMs)); });
}

// send(columns, rows, topics) -> undefined; a failure tells in `row` where it stopped.
napi_value send(Arguments &arguments) {
  napi_env env = arguments.env;
  const size_t rows = size_t(integerOf(env, arguments.at[1], "rows", 0, INT32_MAX));
  const Columns columns = columnsOf(env, arguments.at[0], rows);
  const auto topics = textsOf(env, arguments.at[2], "topics are an array of at most 256 names");
  if (arguments.client().isConsumer) refuse(env, "a producer sends");
  return promise(arguments, arguments.at[0], [=](Client &client, Answer &) {
    size_t row = 0;
    Failure failure = client.send(columns, row, topics);
    if (failure.code) failure.message += " (row " + std::to_string(row) + ")";
    return failure;
  });
}

// sendOffsets(partitions, consumer, timeoutMs)
napi_value sendOffsets(Arguments &arguments) {
  napi_env env = arguments.env;
  auto list = std::shared_ptr<rd_kafka_topic_partition_list_t>(listOf(env, arguments.at[0]));
  bool isClient = false;
  Shared *consumer = nullptr;
  const char *what = "the second argument is a client that consumes";
  check(env, napi_check_object_type_tag(env, arguments.at[1], &clientTag, &isClient), what);
  if (!isClient || napi_unwrap(env, arguments.at[1], reinterpret_cast<void **>(&consumer)) != napi_ok) refuse(env, what);
  if (!(*consumer)->client.isConsumer || (*consumer)->client.closing) refuse(env, what);
  const int timeoutMs = timeoutOf(env, arguments.at[2]);
  Shared member = *consumer;
  if (!arguments.client().closing) member->enter();  // otherwise the promise is rejected, and nothing runs
  return promise(arguments, nullptr, [=](Client &client, Answer &) {
    rd_kafka_consumer_group_metadata_t *metadata = rd_kafka_consumer_group_metadata(member->client.rk);
    member->leave();
    if (!metadata) return Failure{RD_KAFKA_RESP_ERR__STATE, "the consumer is in no group"};
    Failure failure = Failure::of(rd_kafka_send_offsets_to_transaction(client.rk, list.get(), metadata, timeoutMs));
    rd_kafka_consumer_group_metadata_destroy(metadata);
    return failure;
  });
}

// close(): when all other calls are back.
napi_value close(Arguments &arguments) {
  if (!arguments.client().closing) arguments.client().interrupt();
  return promise(arguments, nullptr, [](Client &client, Answer &) { return client.close(), client.threads->stop(), Failure{}; }, true);
}

// ---- the class ----------------------------------------------------------------------------------------------------------------

void deliverNow(napi_env env, napi_value onEvent, void *, void *data) {
  std::unique_ptr<Delivery> delivery(static_cast<Delivery *>(data));
  if (!env) return;
  delivery->run(env, onEvent);
  bool isPending = false;
  napi_value thrown;
  if (napi_is_exception_pending(env, &isPending) == napi_ok && isPending && napi_get_and_clear_last_exception(env, &thrown) == napi_ok) napi_fatal_exception(env, thrown);
}

void tell(const Shared &handle, Event event) {
  const bool informs = event.kind != "rebalance";
  if (informs) handle->client.eventsUndelivered++;
  auto told = std::make_shared<Event>(std::move(event));
  handle->deliver([handle, told, informs](napi_env env, napi_value onEvent) {
    if (informs) handle->client.eventsUndelivered--;
    napi_value arguments[] = {text(env, told->kind), number(env, told->code), text(env, told->text), text(env, told->detail), boolean(env, told->flag), listValue(env, told->partitions.get())};
    napi_value result;
    napi_call_function(env, undefined(env), onEvent, 6, arguments, &result);
  });
}

// new Client(isConsumer, [name, value, ...], onEvent(kind, code, text, detail, flag, partitions))
napi_value construct(napi_env env, napi_callback_info info) {
  try {
    size_t count = 3;
    napi_value at[3], self, target, name;
    check(env, napi_get_cb_info(env, info, &count, at, &self, nullptr), "arguments");
    if (count < 3) refuse(env, "too few arguments");
    if (napi_get_new_target(env, info, &target) != napi_ok || !target) refuse(env, "Client is made with new");
    bool isConsumer = false;
    napi_valuetype type;
    check(env, napi_get_value_bool(env, at[0], &isConsumer), "the first argument says whether it consumes");
    if (napi_typeof(env, at[2], &type) != napi_ok || type != napi_function) refuse(env, "the third argument is a function");
    const auto settings = textsOf(env, at[1], "settings are an array of names and values", 1000);
    if (settings.size() % 2 != 0) refuse(env, "settings are an array of names and values");
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char reason[512];
    for (size_t i = 0; i < settings.size(); i += 2) {
      if (rd_kafka_conf_set(conf, settings[i].c_str(), settings[i + 1].c_str(), reason, sizeof reason) == RD_KAFKA_CONF_OK) continue;
      rd_kafka_conf_destroy(conf);
      refuse(env, reason);
    }
    auto handle = std::make_shared<Handle>();
    napi_create_string_utf8(env, "harrier.kafka", NAPI_AUTO_LENGTH, &name);
    check(env, napi_create_threadsafe_function(env, at[2], nullptr, name, 0, 1, nullptr, nullptr, nullptr, deliverNow, &handle->toJs), "thread-safe function");
    // librdkafka's threads may tell something before `open` is back; the client outlives them (`close`).
    handle->client.post = [weak = std::weak_ptr<Handle>(handle)](Event event) {
      if (auto shared = weak.lock()) tell(shared, std::move(event));
    };
    std::string error;
    if (!handle->client.open(isConsumer, conf, error)) {
      napi_release_threadsafe_function(handle->toJs, napi_tsfn_abort);
      refuse(env, error);
    }
    auto *shared = new Shared(handle);
    // A client that was not closed keeps its memory: librdkafka's threads still use it.
    check(env, napi_wrap(env, self, shared, [](napi_env, void *data, void *) {
      auto *held = static_cast<Shared *>(data);
      if ((*held)->client.closing) delete held;
    }, nullptr, nullptr), "wrap");
    check(env, napi_type_tag_object(env, self, &clientTag), "tag");
    napi_add_env_cleanup_hook(env, Handle::onJsGone, handle.get());
    if (!isConsumer) {
      handle->enter();
      handle->client.threads->run([handle] {
        handle->client.serveEvents();
        handle->leave();
      });
    }
    return self;
  } catch (const Thrown &) {
    return nullptr;
  }
}

// What this build of librdkafka can do, as names with commas between them.
std::string builtinFeatures() {
  char features[1024] = "";
  size_t bytes = sizeof features;
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  const bool isKnown = rd_kafka_conf_get(conf, "builtin.features", features, &bytes) == RD_KAFKA_CONF_OK;
  rd_kafka_conf_destroy(conf);
  return isKnown ? features : "";
}

napi_value start(napi_env env, napi_value exports) {
#define METHOD(name, function, count) {name, nullptr, call<function, count>, nullptr, nullptr, nullptr, napi_default_method, nullptr}
  const napi_property_descriptor methods[] = {
    METHOD("subscribe", subscribe, 1), METHOD("unsubscribe", unsubscribe, 0), METHOD("setTopics", setTopics, 1), METHOD("assign", assign, 1), METHOD("incrementalAssign", incrementalAssign, 1),
    METHOD("incrementalUnassign", incrementalUnassign, 1), METHOD("pause", pausePartitions, 1), METHOD("resume", resumePartitions, 1), METHOD("seekSoon", seekSoon, 1), METHOD("setToken", setToken, 2), METHOD("addBrokers", addBrokers, 1),
    METHOD("knownEnd", knownEnd, 2), METHOD("interrupt", interrupt, 0), METHOD("poll", poll, 7), METHOD("seek", seek, 2), METHOD("committed", committed, 2),
    METHOD("watermarks", watermarks, 3), METHOD("partitionCount", partitionCount, 2), METHOD("partitionCounts", partitionCounts, 1), METHOD("initTransactions", transactional<rd_kafka_init_transactions>, 1),
    METHOD("begin", begin, 0), METHOD("send", send, 3), METHOD("sendOffsets", sendOffsets, 3), METHOD("flush", flush, 1),
    METHOD("commit", transactional<rd_kafka_commit_transaction>, 1), METHOD("abort", transactional<rd_kafka_abort_transaction>, 1), METHOD("close", close, 0),
  };
#undef METHOD
  napi_value constructor;
  if (napi_define_class(env, "Client", NAPI_AUTO_LENGTH, construct, nullptr, sizeof methods / sizeof *methods, methods, &constructor) != napi_ok) return nullptr;
  napi_set_named_property(env, exports, "Client", constructor);
  napi_set_named_property(env, exports, "version", text(env, rd_kafka_version_str()));
  napi_set_named_property(env, exports, "features", text(env, builtinFeatures()));
  return exports;
}

}  // namespace

NAPI_MODULE_INIT() { return start(env, exports); }
