// Threads for calls that block. A call never waits behind another one that waits for a broker: each has a thread.
#pragma once
#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <system_error>
#include <thread>

namespace harrier {

class Threads : public std::enable_shared_from_this<Threads> {
 public:
  // Beyond so many at once, calls queue; so many stay when there is nothing to do.
  static constexpr size_t threadsMax = 64, idleMax = 2;

  void run(std::function<void()> job) {
    std::lock_guard<std::mutex> lock(mutex_);
    jobs_.push_back(std::move(job));
    if (idle_ >= jobs_.size() || count_ >= threadsMax) return wake_.notify_one();
    try {
      std::thread([self = shared_from_this()] { self->work(); }).detach();
      count_++;
    } catch (const std::system_error &) {
      // The machine has no thread left: the call waits for one of ours.
      if (count_ == 0) throw;
    }
  }

  // The threads end when all that was asked for is done.
  void stop() {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
    wake_.notify_all();
  }

 private:
  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      while (!jobs_.empty()) {
        auto job = std::move(jobs_.front());
        jobs_.pop_front();
        lock.unlock();
        job();
        job = nullptr;
        lock.lock();
      }
      if (stopping_ || idle_ >= idleMax) break;
      idle_++;
      wake_.wait(lock);
      idle_--;
    }
    count_--;
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> jobs_;
  size_t count_ = 0, idle_ = 0;
  bool stopping_ = false;
};

}  // namespace harrier
