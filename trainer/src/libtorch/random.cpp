// Draws from a generator of their own.

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>

#include <cstdint>

#include "call.h"

using med2e3::guarded;

extern "C" {

int med2e3_fill_normal(at::Tensor* tensor, double std, uint64_t seed) {
    return guarded([&] {
        at::NoGradGuard no_grad;
        tensor->normal_(0.0, std, at::make_generator<at::CPUGeneratorImpl>(seed));
    });
}
}
