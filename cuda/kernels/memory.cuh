// Memory that is taken once and shared out: an arena on the card for the steps of a computation, and page-locked memory for what they
// hand to the host.
#pragma once

#include <cstdlib>

#include "runtime.cuh"

namespace pm {

// Hands out parts of one allocation in order. Invariant: what is in use never exceeds the capacity; too much is an Error.
class Arena {
  public:
    Arena() = default;
    explicit Arena(size_t bytes) : memory_(bytes) {}

    template <class T>
    T* take(size_t count) {
        size_t bytes = padded(count * sizeof(T));
        if (used_ + bytes > memory_.size()) fail(Code::internal, "a workspace is smaller than its plan");
        T* part = reinterpret_cast<T*>(memory_.data() + used_);
        used_ += bytes;
        return part;
    }
    size_t mark() const { return used_; }
    void release(size_t mark) { used_ = mark; }
    size_t capacity() const { return memory_.size(); }

    static constexpr size_t padded(size_t bytes) { return (bytes + 255) / 256 * 256; }

  private:
    Buffer<uint8_t> memory_;
    size_t used_ = 0;
};

template <class T>
class PinnedBuffer {
  public:
    PinnedBuffer() = default;
    explicit PinnedBuffer(size_t count) {
        size_t bytes = (count * sizeof(T) + 4095) / 4096 * 4096;
        data_ = static_cast<T*>(std::aligned_alloc(4096, bytes));
        if (!data_) fail(Code::out_of_memory, "main memory is used up");
        pinned_ = pin(data_, bytes);
    }
    PinnedBuffer(PinnedBuffer&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), pinned_(std::exchange(other.pinned_, false)) {}
    PinnedBuffer& operator=(PinnedBuffer&& other) noexcept {
        std::swap(data_, other.data_);
        std::swap(pinned_, other.pinned_);
        return *this;
    }
    ~PinnedBuffer() {
        if (pinned_) unpin(data_);
        std::free(data_);
    }
    T* data() const { return data_; }

  private:
    T* data_ = nullptr;
    bool pinned_ = false;
};

} // namespace pm
