// How often the host waits for a device: reads of its numbers, and copies between both that are not queued.

#include <ATen/record_function.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "call.h"

using med2e3::guarded;

namespace {

// libtorch hands it and the callback on to the threads of a backward pass.
struct Count : c10::DebugInfoBase, std::enable_shared_from_this<Count> {
    std::atomic<uint64_t> reads{0};
};

constexpr auto KIND = c10::DebugInfoKind::TEST_INFO_2;

// Each of them makes the host wait for a value or a size; item() and a tensor as a condition end in the first.
constexpr std::array<std::string_view, 6> READS = {"aten::_local_scalar_dense", "aten::equal",    "aten::nonzero",
                                                   "aten::masked_select",       "aten::_unique2", "aten::unique_dim"};

// Its CPU kernel reads the number of the step, which its CUDA kernel does not: what it does inside is not counted.
constexpr std::string_view EXEMPT = "aten::_fused_adamw_";

thread_local int exempt = 0;

struct Left : at::ObserverContext {};

// From a device to the host or from the host to a device.
bool is_blocking_copy(const at::RecordFunction& function) {
    const auto inputs = function.inputs();
    if (inputs.size() < 3 || !inputs[0].isTensor() || !inputs[1].isTensor()) return false;
    const bool crosses = inputs[0].toTensor().is_cpu() != inputs[1].toTensor().is_cpu();
    return crosses && !(inputs[2].isBool() && inputs[2].toBool());
}

std::unique_ptr<at::ObserverContext> enter(const at::RecordFunction& function) {
    const std::string_view name = function.name();
    if (name == EXEMPT) {
        ++exempt;
        return std::make_unique<Left>();
    }
    auto* count = static_cast<Count*>(c10::ThreadLocalDebugInfo::get(KIND));
    if (count == nullptr || exempt > 0) return nullptr;
    bool reads = name == "aten::copy_" && is_blocking_copy(function);
    for (const auto read : READS) reads = reads || name == read;
    if (reads) count->reads.fetch_add(1, std::memory_order_relaxed);
    return nullptr;
}

void leave(const at::RecordFunction&, at::ObserverContext* context) {
    if (context != nullptr) --exempt;
}

struct HostReads {
    std::shared_ptr<Count> count;
    uint64_t before;
    // Only of the outermost counter, whose count the others share.
    std::optional<at::CallbackHandle> handle;
};

}  // namespace

extern "C" {

int med2e3_host_reads_start(HostReads** out) {
    return guarded([&] {
        if (auto* outer = static_cast<Count*>(c10::ThreadLocalDebugInfo::get(KIND))) {
            *out = new HostReads{outer->shared_from_this(), outer->reads.load(std::memory_order_relaxed), std::nullopt};
            return;
        }
        auto count = std::make_shared<Count>();
        c10::ThreadLocalDebugInfo::_push(KIND, count);
        const auto callback = at::RecordFunctionCallback(enter, leave).needsInputs(true).scopes({at::RecordScope::FUNCTION});
        *out = new HostReads{count, 0, at::addThreadLocalCallback(callback)};
    });
}

uint64_t med2e3_host_reads_count(HostReads* reads) {
    return reads->count->reads.load(std::memory_order_relaxed) - reads->before;
}

int med2e3_host_reads_stop(HostReads* reads) {
    const std::unique_ptr<HostReads> owned(reads);
    return guarded([&] {
        if (!owned->handle) return;
        at::removeCallback(*owned->handle);
        c10::ThreadLocalDebugInfo::_pop(KIND);
    });
}
}
