// How libtorch computes, for the whole process.

#include <ATen/Context.h>
#include <ATen/SDPBackend.h>

#include <cstdint>
#include <vector>

#include "call.h"

using at::SDPBackend;
using med2e3::guarded;

namespace {

// Which attention is tried first. `AUTO` is libtorch's own order, which it changes itself on some cards.
enum Attention { AUTO = 0, FLASH = 1, CUDNN = 2 };

std::vector<int64_t> order_of(int attention) {
    std::vector<SDPBackend> order = {SDPBackend::flash_attention, SDPBackend::efficient_attention, SDPBackend::math,
                                     SDPBackend::cudnn_attention, SDPBackend::overrideable};
    if (attention == CUDNN) {
        order = {SDPBackend::cudnn_attention, SDPBackend::flash_attention, SDPBackend::efficient_attention,
                 SDPBackend::math, SDPBackend::overrideable};
    }
    std::vector<int64_t> numbers;
    for (const auto backend : order) numbers.push_back(static_cast<int64_t>(backend));
    return numbers;
}

}  // namespace

extern "C" {

int med2e3_set_context(int tf32, int deterministic, int attention) {
    return guarded([&] {
        auto& context = at::globalContext();
        context.setAllowTF32CuBLAS(tf32 == 1);
        context.setAllowTF32CuDNN(tf32 == 1);

        context.setDeterministicAlgorithms(deterministic == 1, /*warn_only=*/false);
        // Memory that nobody wrote yet needs no fixed contents for results to be the same.
        context.setDeterministicFillUninitializedMemory(false);
        context.setDeterministicCuDNN(deterministic == 1);
        context.setBenchmarkCuDNN(false);

        // The gradients of cuDNN's attention and of the memory-efficient one have sums without a fixed order.
        context.setSDPPriorityOrder(order_of(attention));
        context.setSDPUseCuDNN(deterministic != 1 && attention != FLASH);
        context.setSDPUseMemEfficient(deterministic != 1);
    });
}

// What is set, as bits: TF32, deterministic algorithms, cuDNN's attention, the memory-efficient attention.
int med2e3_context() {
    const auto& context = at::globalContext();
    return (context.allowTF32CuBLAS() ? 1 : 0) | (context.deterministicAlgorithms() ? 2 : 0) |
           (context.userEnabledCuDNNSDP() ? 4 : 0) | (context.userEnabledMemEfficientSDP() ? 8 : 0);
}
}
