// Questions about satisfiability that are being asked, the outermost first.
//
// A value that needs itself does not exist, so a question that is open above is answered with no. What was found
// meanwhile leans on that answer and may not be remembered. Protected by the lock of the machine's generation.
#pragma once
#include <algorithm>
#include <utility>
#include <vector>

#include "json/formula.hpp"

namespace espalier::json {

class OpenQuestions {
 public:
  bool open(Formula f) {  // then what is answered now leans on it
    const auto at = std::find(asking_.begin(), asking_.end(), f);
    if (at == asking_.end()) return false;
    lowest_ = std::min(lowest_, static_cast<std::size_t>(at - asking_.begin()));
    return true;
  }
  std::size_t size() const { return asking_.size(); }
  void interrupted() {  // nobody is left to close them
    asking_.clear();
    lowest_ = kNone;
  }

  class Asking {  // while it lives, the question is open
   public:
    Asking(OpenQuestions& all, Formula f)
        : all_(all), level_(all.asking_.size()), before_(std::exchange(all.lowest_, kNone)) {
      all_.asking_.push_back(f);
    }
    ~Asking() {
      all_.asking_.pop_back();
      all_.lowest_ = std::min(before_, all_.lowest_ < level_ ? all_.lowest_ : kNone);
    }
    Asking(const Asking&) = delete;
    Asking& operator=(const Asking&) = delete;
    bool leans() const { return all_.lowest_ < level_; }  // on a question above

   private:
    OpenQuestions& all_;
    std::size_t level_, before_;
  };

  class Assuming {  // while it lives, it is noted whether an open question was used
   public:
    explicit Assuming(OpenQuestions& all) : lowest_(all.lowest_), before_(std::exchange(all.lowest_, kNone)) {}
    ~Assuming() { lowest_ = std::min(lowest_, before_); }
    Assuming(const Assuming&) = delete;
    Assuming& operator=(const Assuming&) = delete;
    bool used() const { return lowest_ != kNone; }

   private:
    std::size_t& lowest_;
    std::size_t before_;
  };

 private:
  static constexpr auto kNone = static_cast<std::size_t>(-1);
  std::vector<Formula> asking_;
  std::size_t lowest_ = kNone;  // of those that were used
};

}  // namespace espalier::json
