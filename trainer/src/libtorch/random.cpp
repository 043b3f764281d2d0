// Draws from a generator of their own.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty_like.h>

#include <cstdint>
#include <utility>

#include "call.h"

using med2e3::guarded;

namespace {

// A generator of this seed on the tensor's device. A GPU's is a copy of the device's own one: its class has no header here.
at::Generator generator_of(const at::Tensor& tensor, uint64_t seed) {
    if (tensor.device().is_cpu()) return at::make_generator<at::CPUGeneratorImpl>(seed);
    auto generator = at::globalContext().defaultGenerator(tensor.device()).clone();
    // A new seed sets the position in its draws to zero.
    generator.set_current_seed(seed);
    return generator;
}

}  // namespace

extern "C" {

int med2e3_fill_normal(at::Tensor* tensor, double std, uint64_t seed) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        tensor->normal_(0.0, std, at::make_generator<at::CPUGeneratorImpl>(seed));
    });
}

int med2e3_dropout_mask(at::Tensor* like, double rate, uint64_t seed, at::Tensor** out) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        auto mask = at::empty_like(*like, at::MemoryFormat::Contiguous);
        mask.bernoulli_(1.0 - rate, generator_of(*like, seed));
        *out = new at::Tensor(std::move(mask));
    });
}
}
