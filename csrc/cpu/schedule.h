// When a search halves its steps and when it stops; the rules of Controller in
// dds_fast/search/schedule.py.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

namespace dds {

enum class Stop { none, max_steps, converged, diverged, non_finite };

class Schedule {
 public:
  Schedule(double step_size, int64_t max_steps, int64_t patience, double factor,
           int64_t max_increases, double tolerance)
      : step_size_(step_size),
        max_steps_(max_steps),
        patience_(patience),
        factor_(factor),
        max_increases_(max_increases),
        tolerance_(tolerance) {}

  double step_size() const { return step_size_; }
  int64_t n_costs() const { return n_costs_; }
  Stop stop() const { return stop_; }

  // Takes the cost after an update step (the first call: the initial cost).
  void observe(double cost) {
    ++n_costs_;
    if (!std::isfinite(cost)) {
      stop_ = Stop::non_finite;
      return;
    }
    if (n_costs_ > 1) judge(cost);
    best_ = std::fmin(best_, cost);
    previous_ = cost;
    if (stop_ == Stop::none && n_costs_ > max_steps_) stop_ = Stop::max_steps;
  }

 private:
  void judge(double cost) {
    above_best_ = cost > best_ ? above_best_ + 1 : 0;
    if (above_best_ > patience_) {
      step_size_ *= factor_;
      above_best_ = 0;
    }
    increases_ = cost >= previous_ ? increases_ + 1 : 0;
    if (increases_ > max_increases_) {
      stop_ = Stop::diverged;
    } else if (std::fabs(cost - previous_) < tolerance_) {
      stop_ = Stop::converged;
    }
  }

  double step_size_;
  const int64_t max_steps_;
  const int64_t patience_;
  const double factor_;
  const int64_t max_increases_;
  const double tolerance_;
  int64_t n_costs_ = 0;
  Stop stop_ = Stop::none;
  double best_ = std::numeric_limits<double>::infinity();
  double previous_ = 0.0;
  int64_t above_best_ = 0;
  int64_t increases_ = 0;
};

}  // namespace dds
