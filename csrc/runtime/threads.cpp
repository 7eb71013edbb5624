#include "runtime/threads.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "bottomup/clustering.h"

namespace bottomup {
namespace {

constexpr int64_t kRangesPerThread = 4; // ranges take unequal times

/// One call: its ranges are handed out one by one.
class Job {
public:
  Job(int64_t count, int64_t step, const RangeBody &body)
      : count_(count), step_(step), unfinished_((count + step - 1) / step), body_(body) {}

  /// Runs ranges until none is left to hand out. The body is not touched after the last is done.
  void work() {
    std::unique_lock lock(mutex_);
    while (next_ < count_) {
      const int64_t begin = next_;
      next_ += step_;
      lock.unlock();
      std::exception_ptr error;
      try {
        body_(begin, std::min(begin + step_, count_));
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      if (error)
        error_ = error;
      if (--unfinished_ == 0)
        done_.notify_all();
    }
  }

  void finish() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return unfinished_ == 0; });
    if (error_)
      std::rethrow_exception(error_);
  }

private:
  const int64_t count_, step_;
  int64_t next_ = 0, unfinished_;
  const RangeBody &body_;
  std::exception_ptr error_;
  std::mutex mutex_;
  std::condition_variable done_;
};

class Helpers {
public:
  explicit Helpers(int count) {
    for (int i = 0; i < count; ++i)
      threads_.emplace_back([this] { serve(); });
  }

  ~Helpers() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    waiting_.notify_all();
    for (std::thread &thread : threads_)
      thread.join();
  }

  /// The caller works, too, so that a call ends even where all helpers are busy, or gone with a
  /// process that was forked.
  void run(int64_t count, int64_t grain, const RangeBody &body) {
    const int64_t threads = static_cast<int64_t>(threads_.size()) + 1;
    const int64_t most = std::max<int64_t>(1, count / std::max<int64_t>(1, grain));
    const int64_t ranges = threads == 1 ? 1 : std::min(most, threads * kRangesPerThread);
    if (ranges <= 1) {
      if (count > 0)
        body(0, count);
      return;
    }
    const auto job = std::make_shared<Job>(count, (count + ranges - 1) / ranges, body);
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(job);
    }
    waiting_.notify_all();
    job->work();
    {
      const std::lock_guard lock(mutex_);
      std::erase(jobs_, job);
    }
    job->finish();
  }

private:
  void serve() {
    std::unique_lock lock(mutex_);
    while (true) {
      waiting_.wait(lock, [&] { return stopping_ || !jobs_.empty(); });
      if (stopping_)
        return;
      const std::shared_ptr<Job> job = jobs_.front();
      lock.unlock();
      job->work();
      lock.lock();
      std::erase(jobs_, job);
    }
  }

  std::mutex mutex_;
  std::condition_variable waiting_;
  std::deque<std::shared_ptr<Job>> jobs_;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

std::mutex helpers_mutex;

/// Never destroyed: threads that outlive main may still be using it.
std::shared_ptr<Helpers> &shared_helpers() {
  static auto &helpers = *new std::shared_ptr<Helpers>;
  return helpers;
}

std::shared_ptr<Helpers> current_helpers() {
  const std::lock_guard lock(helpers_mutex);
  std::shared_ptr<Helpers> &helpers = shared_helpers();
  if (!helpers)
    helpers = std::make_shared<Helpers>(
        std::max(0, static_cast<int>(std::thread::hardware_concurrency()) - 1));
  return helpers;
}

} // namespace

void library_parallel_for(int64_t count, int64_t grain, const RangeBody &body) {
  current_helpers()->run(count, grain, body);
}

void set_helper_threads(int count) {
  if (count < 0 || count > 1024)
    throw Error("count: " + std::to_string(count) + " is outside [0, 1024]");
  auto fresh = std::make_shared<Helpers>(count);
  const std::lock_guard lock(helpers_mutex);
  shared_helpers().swap(fresh);
}

} // namespace bottomup
