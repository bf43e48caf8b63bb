// One client of librdkafka: what it owns, and what its callbacks tell. Deliveries go to the thread of JavaScript by `Post`.
//
// Threads: JavaScript's calls each method and runs each delivery; a thread of `Threads` runs each blocking call; librdkafka's own
// threads log. Invariants:
// 1. One poll at a time, and between two polls nothing is held back: what did not fit into the arena is taken by further polls
//    before the caller lets go of the turn. So a seek between two polls finds no record of before it here.
// 2. rk is destroyed by `close`, alone, when every other call is back: librdkafka allows no other order.
// 3. A rebalance is told, and answered by the caller with incrementalAssign or incrementalUnassign; what the caller has not answered when
//    it closes, and what comes after that, is answered here: librdkafka's close waits for it.
// 4. Events that only inform are dropped when too many are undelivered: logs beyond `eventsMax` of them, errors beyond twice as many, failed
//    deliveries beyond thrice: so one that failed is always told, before the flush that waited for it is back. Rebalances and answers never are.
#pragma once
#include <atomic>
#include <chrono>
#include <map>
#include <string>
#include <vector>
#include "columns.h"
#include "threads.h"

namespace harrier {

using PartitionList = std::unique_ptr<rd_kafka_topic_partition_list_t, decltype(&rd_kafka_topic_partition_list_destroy)>;
inline PartitionList ownedList(rd_kafka_topic_partition_list_t *list) { return PartitionList(list, rd_kafka_topic_partition_list_destroy); }

struct Failure {
  int code = 0;
  std::string message;
  bool isFatal = false, isRetriable = false, needsAbort = false;

  static Failure of(rd_kafka_resp_err_t code) { return {int(code), code ? rd_kafka_err2str(code) : ""}; }
  // Takes the error over.
  static Failure of(rd_kafka_error_t *error) {
    if (!error) return {};
    Failure failure{int(rd_kafka_error_code(error)), rd_kafka_error_string(error), bool(rd_kafka_error_is_fatal(error)), bool(rd_kafka_error_is_retriable(error)), bool(rd_kafka_error_txn_requires_abort(error))};
    rd_kafka_error_destroy(error);
    return failure;
  }
};

struct Event {
  std::string kind, text, detail;
  int code = 0;
  bool flag = false;  // error: fatal; rebalance: the partitions are lost
  PartitionList partitions = ownedList(nullptr);
};

// An error or the end of a partition in the middle of a batch.
struct Remark {
  int code;
  std::string message, topic;
  int32_t partition;
  int64_t offset;
};

struct PollResult {
  size_t rows = 0, used = 0, needed = 0;
  std::vector<Remark> remarks;
};

class Client {
 public:
  using Post = std::function<void(Event)>;
  static constexpr size_t eventsMax = 1000, topicsMax = 256;
  static constexpr int idlePollMs = 1000, queueFullPauseMs = 1;

  rd_kafka_t *rk = nullptr;
  rd_kafka_queue_t *queue = nullptr;
  bool isConsumer = false;
  std::atomic<bool> closing{false};
  std::atomic<size_t> eventsUndelivered{0};
  std::vector<std::string> topics;  // of the consumer; replaced between polls only
  Post post;
  std::shared_ptr<Threads> threads = std::make_shared<Threads>();

  // Takes the configuration over. False: `error` says why.
  bool open(bool consumer, rd_kafka_conf_t *conf, std::string &error) {
    isConsumer = consumer;
    rd_kafka_conf_set_opaque(conf, this);
    rd_kafka_conf_set_log_cb(conf, onLog);
    if (consumer) rd_kafka_conf_set_error_cb(conf, onError);
    rd_kafka_conf_set_oauthbearer_token_refresh_cb(conf, [](rd_kafka_t *, const char *, void *) {});  // setToken brings each in time
    if (consumer) rd_kafka_conf_set_rebalance_cb(conf, onRebalance);
    else rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR);
    char reason[512];
    rk = rd_kafka_new(consumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, reason, sizeof reason);
    if (!rk) return rd_kafka_conf_destroy(conf), error = reason, false;
    if (consumer) rd_kafka_poll_set_consumer(rk);
    queue = consumer ? rd_kafka_queue_get_consumer(rk) : rd_kafka_queue_get_main(rk);
    return true;
  }

  void interrupt() {
    interrupted_ = true;
    rd_kafka_queue_yield(queue);
  }

  // Waits at most delayMs for a first record and fillMs for more. Records that do not fit wait for the next poll, which wants `needed` bytes.
  PollResult poll(const Columns &into, size_t row, size_t used, size_t room, int delayMs, int fillMs) {
    PollResult result;
    interrupted_ = false;
    if (next_ == batch_.size()) fetch(room, delayMs, fillMs, result);
    for (; next_ < batch_.size(); next_++) {
      rd_kafka_message_t *message = batch_[next_];
      const int topic = topicIndex(message->rkt);
      rd_kafka_headers_t *headers = nullptr;
      if (rd_kafka_message_headers(message, &headers)) headers = nullptr;
      if (topic >= 0) {
        const size_t bytes = bytesOf(message, headers);
        if (result.rows == room || row + result.rows == into.rows || used + bytes > into.arenaBytes) {
          result.needed = bytes;
          break;
        }
        appendRecord(into, row + result.rows++, used, uint8_t(topic), message, headers);
      }
      rd_kafka_message_destroy(message);
    }
    result.used = used;
    return result;
  }

  // Queues each row; waits while the local queue is full. `row` is where it stopped.
  Failure send(const Columns &from, size_t &row, const std::vector<std::string> &names) {
    std::vector<rd_kafka_topic_t *> handles;
    for (const auto &name : names) handles.push_back(topicHandle(name));
    for (; row < from.rows;) {
      if (from.topic[row] >= handles.size() || !handles[from.topic[row]]) return {RD_KAFKA_RESP_ERR__INVALID_ARG, "row " + std::to_string(row) + " names no topic"};
      rd_kafka_error_t *error = produceRow(rk, handles[from.topic[row]], from, row);
      if (!error) {
        row++;
      } else if (rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__QUEUE_FULL && !closing) {
        rd_kafka_error_destroy(error);
        std::this_thread::sleep_for(std::chrono::milliseconds(queueFullPauseMs));
      } else {
        return Failure::of(error);
      }
    }
    return {};
  }

  // Of a producer: tells of failed deliveries and errors until the client closes. They come as events, not in callbacks: a flush, which is
  // part of each commit, then wakes with the last acknowledgement, and does not look for it every 10 ms.
  void serveEvents() {
    while (!closing) {
      rd_kafka_event_t *event = rd_kafka_queue_poll(queue, idlePollMs);
      if (!event) continue;
      if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR) onError(event);
      while (const rd_kafka_message_t *message = rd_kafka_event_message_next(event)) onDelivery(message);
      rd_kafka_event_destroy(event);
    }
  }

  Failure incrementalAssign(const rd_kafka_topic_partition_list_t *partitions) {
    unanswered(nullptr);
    return Failure::of(rd_kafka_incremental_assign(rk, partitions));
  }

  Failure incrementalUnassign(const rd_kafka_topic_partition_list_t *partitions) {
    unanswered(nullptr);
    return Failure::of(rd_kafka_incremental_unassign(rk, partitions));
  }

  // When every other call is back.
  void close() {
    dropBatch();
    if (auto open = unanswered(nullptr)) answer(open->code, open->partitions.get());
    if (isConsumer) rd_kafka_consumer_close(rk);
    for (auto &[name, handle] : handles_) rd_kafka_topic_destroy(handle);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
    rk = nullptr;
  }

 private:
  void fetch(size_t room, int delayMs, int fillMs, PollResult &result) {
    using Clock = std::chrono::steady_clock;
    dropBatch();
    const auto left = [](Clock::time_point end) { return int(std::max<int64_t>(0, std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count())); };
    take(room, 0, result);
    if (batch_.empty() && delayMs > 0 && result.remarks.empty()) {
      // Whatever comes, an end of a partition too, ends the wait: the caller asks again.
      take(1, delayMs, result);
      take(room, 0, result);
    }
    if (batch_.empty() || fillMs <= 0) return;
    const auto end = Clock::now() + std::chrono::milliseconds(fillMs);
    for (int ms = fillMs; ms > 0 && batch_.size() < room && !interrupted_ && !closing; ms = left(end)) take(room, ms, result);
  }

  // Fills the batch up to `room` records.
  void take(size_t room, int timeoutMs, PollResult &result) {
    if (batch_.size() >= room || interrupted_ || closing) return;
    const size_t before = batch_.size();
    batch_.resize(room);
    const ssize_t taken = rd_kafka_consume_batch_queue(queue, timeoutMs, batch_.data() + before, room - before);
    size_t kept = before;
    for (size_t i = before; i < before + size_t(taken < 0 ? 0 : taken); i++) {
      rd_kafka_message_t *message = batch_[i];
      if (!message->err) {
        batch_[kept++] = message;
        continue;
      }
      result.remarks.push_back({int(message->err), rd_kafka_message_errstr(message), message->rkt ? rd_kafka_topic_name(message->rkt) : "", message->partition, message->offset});
      rd_kafka_message_destroy(message);
    }
    batch_.resize(kept);
  }

  void dropBatch() {
    for (; next_ < batch_.size(); next_++) rd_kafka_message_destroy(batch_[next_]);
    batch_.clear();
    next_ = 0;
  }

  // Records come in runs of one topic: its name is compared once for a run.
  int topicIndex(const rd_kafka_topic_t *topic) {
    if (topic == lastTopic_ && topicsSeen_ == topicsGeneration) return lastIndex_;
    lastTopic_ = topic, topicsSeen_ = topicsGeneration, lastIndex_ = -1;
    for (size_t i = 0; i < topics.size(); i++)
      if (topics[i] == rd_kafka_topic_name(topic)) lastIndex_ = int(i);
    return lastIndex_;
  }

  rd_kafka_topic_t *topicHandle(const std::string &name) {
    auto found = handles_.find(name);
    if (found != handles_.end()) return found->second;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, name.c_str(), nullptr);
    if (handle) handles_[name] = handle;
    return handle;
  }

  void inform(Event event, size_t undeliveredMax) {
    if (eventsUndelivered >= undeliveredMax) return;
    post(std::move(event));
  }

  static Client &self(void *opaque) { return *static_cast<Client *>(opaque); }

  static void onLog(const rd_kafka_t *rk, int level, const char *facility, const char *message) {
    Event event;
    event.kind = "log", event.code = level, event.detail = facility, event.text = message;
    self(rd_kafka_opaque(rk)).inform(std::move(event), eventsMax);
  }

  static void onError(rd_kafka_t *rk, int code, const char *reason, void *opaque) {
    Event event;
    event.kind = "error", event.code = code, event.text = reason;
    char fatal[512];
    if (code == RD_KAFKA_RESP_ERR__FATAL) event.code = rd_kafka_fatal_error(rk, fatal, sizeof fatal), event.text = fatal, event.flag = true;
    self(opaque).inform(std::move(event), 2 * eventsMax);
  }

  void onError(rd_kafka_event_t *error) {
    Event event;
    event.kind = "error", event.code = rd_kafka_event_error(error), event.text = rd_kafka_event_error_string(error), event.flag = rd_kafka_event_error_is_fatal(error);
    inform(std::move(event), 2 * eventsMax);
  }

  void onDelivery(const rd_kafka_message_t *message) {
    // What an abort purges is no news.
    if (!message->err || message->err == RD_KAFKA_RESP_ERR__PURGE_QUEUE || message->err == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT) return;
    Event event;
    event.kind = "delivery", event.code = message->err, event.text = rd_kafka_err2str(message->err), event.detail = rd_kafka_topic_name(message->rkt);
    inform(std::move(event), 3 * eventsMax);
  }

  static void onRebalance(rd_kafka_t *rk, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *partitions, void *opaque) {
    Client &client = self(opaque);
    if (client.closing) return client.answer(error, partitions);
    Event event;
    event.kind = "rebalance", event.code = error, event.text = rd_kafka_err2str(error), event.flag = rd_kafka_assignment_lost(rk);
    event.partitions = ownedList(rd_kafka_topic_partition_list_copy(partitions));
    client.unanswered(std::make_unique<Rebalance>(Rebalance{error, ownedList(rd_kafka_topic_partition_list_copy(partitions))}));
    client.post(std::move(event));
    client.interrupt();
  }

  struct Rebalance {
    rd_kafka_resp_err_t code;
    PartitionList partitions;
  };

  // Sets what is unanswered, and returns what was.
  std::unique_ptr<Rebalance> unanswered(std::unique_ptr<Rebalance> next) {
    std::lock_guard<std::mutex> lock(rebalanceMutex_);
    std::swap(next, unanswered_);
    return next;
  }

  void answer(rd_kafka_resp_err_t code, const rd_kafka_topic_partition_list_t *partitions) {
    Failure::of(code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? rd_kafka_incremental_assign(rk, partitions) : rd_kafka_incremental_unassign(rk, partitions));
  }

 public:
  size_t topicsGeneration = 0;

 private:
  std::vector<rd_kafka_message_t *> batch_;
  size_t next_ = 0;
  std::atomic<bool> interrupted_{false};
  std::mutex rebalanceMutex_;
  std::unique_ptr<Rebalance> unanswered_;
  const rd_kafka_topic_t *lastTopic_ = nullptr;
  int lastIndex_ = -1;
  size_t topicsSeen_ = 0;
  std::map<std::string, rd_kafka_topic_t *> handles_;
};

}  // namespace harrier
