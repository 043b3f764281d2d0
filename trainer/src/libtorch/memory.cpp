// How much memory tensors hold.

#include <ATen/DeviceAccelerator.h>
#include <c10/core/Allocator.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>

#include "call.h"

using med2e3::guarded;

namespace {

// Told of every allocation and release of the thread that it is installed in, and of the threads that run its backward passes.
struct Tally : c10::MemoryReportingInfoBase {
    void reportMemoryUsage(void*, int64_t bytes, size_t, size_t, c10::Device) override {
        const int64_t now = current.fetch_add(bytes) + bytes;
        if (bytes > 0) ++count;
        int64_t before = peak.load();
        while (now > before && !peak.compare_exchange_weak(before, now)) {
        }
    }

    bool memoryProfilingEnabled() const override { return true; }

    std::atomic<int64_t> current{0}, peak{0}, count{0};
};

struct Counter {
    std::shared_ptr<Tally> tally = std::make_shared<Tally>();
    c10::DebugInfoGuard guard{c10::DebugInfoKind::PROFILER_STATE, tally};
};

}  // namespace

extern "C" {

int med2e3_memory_counter(Counter** out) {
    return guarded([&] { *out = new Counter; });
}

void med2e3_memory_counter_read(const Counter* counter, int64_t* numbers) {
    numbers[0] = counter->tally->current;
    numbers[1] = counter->tally->peak;
    numbers[2] = counter->tally->count;
}

void med2e3_memory_counter_reset_peak(Counter* counter) { counter->tally->peak = counter->tally->current.load(); }

void med2e3_memory_counter_free(Counter* counter) { delete counter; }

int med2e3_device_memory(int64_t index, int64_t* numbers) {
    return guarded([&] {
        const auto stats = at::accelerator::getDeviceStats(static_cast<c10::DeviceIndex>(index));
        // The first of each array counts all pools together.
        numbers[0] = stats.allocated_bytes[0].current;
        numbers[1] = stats.allocated_bytes[0].peak;
        numbers[2] = stats.reserved_bytes[0].current;
        numbers[3] = stats.reserved_bytes[0].peak;
    });
}

int med2e3_reset_device_peak(int64_t index) {
    return guarded([&] { at::accelerator::resetPeakStats(static_cast<c10::DeviceIndex>(index)); });
}
}
